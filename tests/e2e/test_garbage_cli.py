"""Garbage at the command line: one line that says what is wrong, and an exit code; never a traceback."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.servers.ports import free_port
from deploy.servers.provide import Servers
from tests.e2e.system import System

pytestmark = pytest.mark.timeout(90)

AWAY = "amqp://nobody:wrong@127.0.0.1:{port}/"
CUSTOMER = '{"customer_id": "cli", "name": "Somebody"}'


def tidemark(
    folder: Path, arguments: list[str], environ: dict[str, str], given: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """The program itself, in an empty folder, with these settings and no others."""
    storable = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMARK_")}
    program = [sys.executable, "-m", "deploy.cli.main", *arguments]
    root = str(Path(__file__).parents[2])
    return subprocess.run(
        program, cwd=folder, env=storable | {"PYTHONPATH": root} | environ, input=given, capture_output=True, timeout=60
    )


async def test_each_wrong_use_is_one_line_and_an_exit_code(system: System, tmp_path: Path) -> None:
    urls = system.servers.environ()
    away = urls | {"TIDEMARK_RABBITMQ_URL": AWAY.format(port=free_port())}
    no_postgres = urls | {"TIDEMARK_WRITE_DB_URL": f"postgresql://nobody:x@127.0.0.1:{free_port()}/x"}
    send = ["send", "customers.register-customer"]
    (tmp_path / "empty").touch()
    cases: list[tuple[list[str], dict[str, str], int, str]] = [
        ([*send, "not JSON"], urls, 2, "not JSON"),
        ([*send, '{"a":' * 10_000], urls, 2, "nested too deeply"),
        ([*send, "[1]"], urls, 2, "data"),
        ([*send, '{"a": NaN}'], urls, 2, "not JSON"),
        (["send", "DROP TABLE", "{}"], urls, 2, "type"),
        ([*send, CUSTOMER, "--id", "a b"], urls, 2, "id"),
        ([*send, '{"name": "\\ud800"}'], urls, 2, "not JSON"),
        ([*send, CUSTOMER], {}, 2, "TIDEMARK_RABBITMQ_URL is not set"),
        ([*send, CUSTOMER], urls | {"TIDEMARK_RABBITMQ_URL": "not a url"}, 2, "TIDEMARK_RABBITMQ_URL"),
        ([*send, CUSTOMER, "--timeout", "1"], away, 3, "Connect"),
        ([*send, CUSTOMER], urls | {"TIDEMARK_LANES": "many"}, 2, "TIDEMARK_LANES"),
        (["load", "nowhere.jsonl"], urls, 2, "there is no file nowhere.jsonl"),
        (["load", "."], urls, 2, "there is no file ."),
        (["health", "worker"], urls, 2, "TIDEMARK_RUNTIME_DIR is not set"),
        (["health", "worker"], {"TIDEMARK_RUNTIME_DIR": str(tmp_path)}, 1, "worker has written no health file"),
        (["migrate"], {}, 2, "is not set"),
        (["migrate"], no_postgres, 3, "PostgreSQL"),
        (["migrate"], away, 3, "RabbitMQ"),
    ]
    at_once = asyncio.Semaphore(3)

    async def run_case(arguments: list[str], environ: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
        async with at_once:
            return await asyncio.to_thread(tidemark, tmp_path, arguments, environ)

    runs = await asyncio.gather(*(run_case(arguments, environ) for arguments, environ, _, _ in cases))
    for (arguments, _, code, said), run in zip(cases, runs, strict=True):
        case = f"{str(arguments)[:80]}: {run.stdout.decode()} {run.stderr.decode()[-1500:]}"
        assert b"Traceback" not in run.stderr, case
        assert run.returncode == code, case
        if code > 1:
            assert len(run.stderr.splitlines()) == 1, case
        assert said in run.stderr.decode(), case


async def test_a_rejection_is_printed_and_its_exit_code_is_one(system: System, tmp_path: Path) -> None:
    run = await asyncio.to_thread(tidemark, tmp_path, ["send", "orders.frobnicate", "{}"], system.servers.environ())
    assert (run.returncode, json.loads(run.stdout)["data"]["code"]) == (1, "unknown-command")


async def test_loading_garbage_loads_what_is_good_and_counts_the_rest(
    own: Servers, system: System, tmp_path: Path
) -> None:
    good = {"specversion": "1.0", "source": "t", "type": "customers.register-customer"}
    lines = [
        json.dumps(good | {"id": "load-1", "data": {"customer_id": "load-1", "name": "One"}}).encode(),
        b"not JSON",
        b"\xff\xfe",
        b"[]",
        b'{"type": "a.b"}',
        b"[" * 100_000,
        b"x" * 2_000_000,
        json.dumps(good | {"id": "load-2", "data": {"customer_id": "load-2"}}).encode(),
        json.dumps({"id": "load-3", "type": "customers.register-customer"}).encode(),
        json.dumps({"id": "load-4", "type": "no type at all"}).encode(),
        b"",
        json.dumps(good | {"id": "load-5", "data": {"customer_id": "load-5", "name": "Five"}}).encode(),
    ]
    given = b"\n".join(lines)
    run = await asyncio.to_thread(tidemark, tmp_path, ["load", "-", "--output", "json"], own.environ(), given)
    assert run.returncode == 1, run.stderr.decode()
    report = json.loads(run.stdout)
    assert (report["accepted"], report["unreadable"]) == (2, 6)
    assert report["rejected"] == {"validation-failed": 1, "malformed-message": 2}
    for part in (b"load-3", b"load-4"):
        assert (await system.letter("commands", part=part))["reason"] == "malformed-message"
