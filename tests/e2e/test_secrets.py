"""A running system shows no password, in no process's arguments and no log, and its services are not root's."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import mkdtemp

import httpx
import psutil
import pytest

from deploy.run.deployables import DEPLOYABLES
from deploy.run.unprivileged import unprivileged
from deploy.servers import leftovers, packages
from tests.e2e.system import address
from tests.e2e.test_up import Up, tidemark_up

MACHINE_PYTHON = Path(f"/usr/bin/python{sysconfig.get_python_version()}")
"""Python outside of root's home, which other users can run."""

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(packages.missing()), reason="the servers' programs are not on this machine"),
    pytest.mark.skipif(not MACHINE_PYTHON.exists(), reason=f"there is no {MACHINE_PYTHON}"),
]

READY_WITHIN_S = 150.0
SOON_S = 60.0
KEY = "operators-key-of-this-test"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """One that other users may enter, unlike pytest's."""
    made = Path(mkdtemp(prefix="tidemark-secrets-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="module")
async def up(folder: Path) -> AsyncIterator[Up]:
    (folder / "key").write_text(KEY)
    (folder / "key").chmod(0o644)
    # redis-py imports this on Python before 3.11.3, for which the locked dependencies are not meant.
    (folder / "async_timeout.py").write_text("from asyncio import timeout\n")
    root = Path(__file__).parents[2]
    environ = {
        "TIDEMARK_SERVERS": "private",
        "TIDEMARK_LOG_LEVEL": "DEBUG",
        "TIDEMARK_OPERATOR_KEY_FILE": str(folder / "key"),
        "TIDEMARK_AUTH": "off",
        "TIDEMARK_RUNTIME_DIR": str(folder / ".tidemark" / "health"),
        "PYTHONPATH": f"{sysconfig.get_path('purelib')}:{root}:{folder}",
    }
    async with tidemark_up(folder, environ, str(MACHINE_PYTHON)) as running:
        await running.until_ready(READY_WITHIN_S)
        yield running


def passwords(folder: Path) -> set[str]:
    """Those of all servers, and the key."""
    files = list((folder / ".tidemark" / "servers").glob("*/credentials.json"))
    assert len(files) == 3
    found = {KEY, *(value for file in files for value in json.loads(file.read_text()).values())}
    assert len(found) >= 15
    return found


def test_no_process_has_a_password_in_its_arguments(up: Up, folder: Path) -> None:
    lines = {path.parent.name: _read(path) for path in Path("/proc").glob("[0-9]*/cmdline")}
    assert str(up.process.pid) in lines
    servers = [leftovers.read(path)["pid"] for path in folder.glob(".tidemark/servers/*/process.json")]
    assert {str(pid) for pid in servers} <= lines.keys()
    found = {pid: line for pid, line in lines.items() if any(each.encode() in line for each in passwords(folder))}
    assert found == {}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run services as another user")
def test_services_of_root_run_as_a_user_without_privileges(up: Up, folder: Path) -> None:
    account = unprivileged(os.environ)
    assert account is not None
    assert account.uid != 0
    children = up.children()
    assert set(children) == set(DEPLOYABLES)
    for name, child in children.items():
        assert set(child.uids()) == {account.uid}, name
        assert set(child.gids()) == {account.gid}, name
        assert "Groups:\t \n" in Path(f"/proc/{child.pid}/status").read_text(), name
    health = folder / ".tidemark" / "health"
    assert {path.stem for path in health.glob("*.json")} >= set(DEPLOYABLES)
    assert all(path.stat().st_uid == account.uid for path in health.glob("*.json"))
    assert not any("WARNING: the services run as root" in line for line in up.lines)
    secret = (folder / ".tidemark" / "environment", *folder.glob(".tidemark/servers/*/credentials.json"))
    assert all(path.stat().st_uid == 0 and path.stat().st_mode & 0o077 == 0 for path in secret)


async def test_the_passwords_of_all_deployables_are_replaced_while_they_run(up: Up, folder: Path) -> None:
    before, environ = passwords(folder), {"PATH": os.environ["PATH"], "HOME": str(folder)}
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "deploy.cli.main", "credentials", "rotate", "--all", "--output", "json"],
        cwd=folder,
        env=environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rotated = {(each["server"], each["user"]) for each in json.loads(done.stdout)["items"]}
    assert {server for server, _ in rotated} == {"postgresql", "rabbitmq", "redis"}
    # What is stored for the next start are the new ones; the owner's and the administrators' stay.
    assert len(before - passwords(folder)) == len(rotated)
    async with httpx.AsyncClient(base_url=address(up.ports, "COMMAND"), trust_env=False, timeout=20) as client:
        body = {"customer_id": "rotated-1", "name": "Ann"}
        answer = await client.post("/commands/customers.register-customer", json=body, headers={"Prefer": "wait=20"})
    assert answer.status_code == 200, answer.text
    secrets = list((folder / ".tidemark" / "secrets").iterdir())
    assert len(secrets) > len(rotated)
    account = unprivileged(os.environ)
    assert {path.stat().st_uid for path in secrets} == {account.uid if account and os.geteuid() == 0 else os.geteuid()}
    assert not any(path.stat().st_mode & 0o077 for path in secrets)


async def test_no_log_has_a_password_also_while_servers_are_away(up: Up, folder: Path) -> None:
    async with httpx.AsyncClient(base_url=address(up.ports, "COMMAND"), trust_env=False, timeout=20) as client:
        body = {"customer_id": "secrets-1", "name": "Ann"}
        answer = await client.post("/commands/customers.register-customer", json=body, headers={"Prefer": "wait=20"})
        assert answer.status_code == 200, answer.text
        for server in ("redis", "postgres", "rabbitmq"):
            pid = leftovers.read(folder / ".tidemark" / "servers" / server / "process.json")["pid"]
            leftovers.kill_process_tree(psutil.Process(pid))
        for name in ("worker", "relay", "analytics", "search"):
            await _until_in_trouble(folder / ".tidemark" / "health" / f"{name}.json")
    up.process.terminate()
    await up.ended()
    servers = [path for path in (folder / ".tidemark" / "servers").rglob("*") if path.suffix == ".log"]
    assert len(servers) >= 4
    texts = {"tidemark up": "".join(up.lines)} | {path.name: path.read_text(errors="replace") for path in servers}
    assert "worker" in texts["tidemark up"]
    for name, text in texts.items():
        assert [each for each in passwords(folder) if each in text] == [], name


async def _until_in_trouble(health: Path) -> None:
    async with asyncio.timeout(SOON_S):
        while not json.loads(await asyncio.to_thread(health.read_text))["troubles"]:  # noqa: ASYNC110 - a file
            await asyncio.sleep(0.2)
