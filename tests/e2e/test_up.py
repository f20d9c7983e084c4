"""``tidemark up``: starts, serves, stops cleanly on both signals, and says which deployable died."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aio_pika
import httpx
import psutil
import pytest

from deploy.observability.alerting.files import ALERTS
from deploy.run.deployables import DEPLOYABLES
from deploy.servers.ports import free_port
from deploy.servers.provide import Servers
from shared.read_models import NAMES
from tests.e2e.system import address, ports

pytestmark = pytest.mark.timeout(300)

READY_WITHIN_S = 120.0
OUT_WITHIN_S = 30.0


class Up:
    """A running ``tidemark up``, in a folder of its own."""

    def __init__(self, process: asyncio.subprocess.Process, chosen: dict[str, str]) -> None:
        self.process = process
        self.ports = chosen
        self.lines: list[str] = []

    async def until_ready(self, within_s: float = READY_WITHIN_S) -> None:
        ready: set[str] = set()
        async with asyncio.timeout(within_s):
            while ready < set(DEPLOYABLES):
                line = await self._line()
                assert line, f"it ended: {self.lines}"
                ready |= {name for name in DEPLOYABLES if f"tidemark ready: {name}" in line}

    async def ended(self) -> int:
        """Its exit code; everything it said is in ``lines``."""
        async with asyncio.timeout(OUT_WITHIN_S):
            while await self._line():
                pass
            return await self.process.wait()

    def children(self) -> dict[str, psutil.Process]:
        """By the name of their deployable."""
        found: dict[str, psutil.Process] = {}
        for child in psutil.Process(self.process.pid).children():
            arguments = child.cmdline()
            found |= {name: child for name, one in DEPLOYABLES.items() if tuple(arguments[2:]) == one.arguments}
        return found

    async def _line(self) -> str:
        assert self.process.stdout is not None
        line = (await self.process.stdout.readline()).decode()
        self.lines.append(line)
        return line


@asynccontextmanager
async def tidemark_up(
    folder: Path, environ: dict[str, str], python: str = sys.executable, *options: str
) -> AsyncIterator[Up]:
    chosen = ports()
    root = str(Path(__file__).parents[2])
    process = await asyncio.create_subprocess_exec(
        python,
        "-m",
        "deploy.cli.main",
        "up",
        *options,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": root, "PYTHONUNBUFFERED": "1"} | chosen | environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    up = Up(process, chosen)
    try:
        yield up
    finally:
        if process.returncode is None:
            process.terminate()
            await up.ended()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_up_serves_until_it_is_told_to_stop_and_then_leaves_nothing(
    own: Servers, tmp_path: Path, number: signal.Signals
) -> None:
    """With its gateway, too."""
    front = f"127.0.0.1:{free_port()}"
    environ = own.environ() | {"TIDEMARK_GATEWAY_PORT": front.partition(":")[2]}
    async with tidemark_up(tmp_path, environ, sys.executable, "--gateway") as up:
        await up.until_ready()
        children = up.children()
        assert set(children) == set(DEPLOYABLES)
        customer = {"customer_id": f"up-{number.name}", "name": "Somebody"}
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            url = f"{address(up.ports, 'COMMAND')}/commands/customers.register-customer"
            response = await client.post(url, json=customer, headers={"Prefer": "wait=10"})
            assert response.status_code == 200, response.text
            assert (await client.get(f"{address(up.ports, 'QUERY')}/health/ready")).status_code == 200
            async with asyncio.timeout(READY_WITHIN_S):
                while (await client.get(f"http://{front}/health/serving")).status_code != 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            response = await client.post(f"http://{front}{urlsplit(url).path}", json=customer)
            assert response.status_code in (200, 202), response.text
            assert (await client.get(f"http://{front}/orders/none")).status_code == 404
        started = psutil.Process(up.process.pid).children(recursive=True)
        assert any(child.name() == "haproxy" for child in started)
        assert any(f"gateway: http://{front}" in line for line in up.lines)
        environment_file = tmp_path / ".tidemark" / "environment"
        assert environment_file.stat().st_mode & 0o777 == 0o600
        began = time.monotonic()
        up.process.send_signal(number)
        assert await up.ended() == 0, up.lines
        assert time.monotonic() - began < OUT_WITHIN_S
        assert any("tidemark ready: checks" in line for line in up.lines), up.lines
        assert not any(child.is_running() for child in (*children.values(), *started))
        assert not environment_file.exists()
        assert not any("Traceback" in line or "died" in line for line in up.lines), up.lines


async def tidemark(folder: Path, *arguments: str, **settings: str) -> tuple[int, str, str]:
    """Exit code, output and errors of a command in another terminal, which has these settings, and none of ours."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMARK_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "deploy.cli.main",
        *arguments,
        cwd=folder,
        env=environ | settings | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(OUT_WITHIN_S):
        out, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), errors.decode()


@pytest.mark.timeout(400)
async def test_up_has_a_key_ready_that_env_hands_out_and_no_deployable_sees(own: Servers, tmp_path: Path) -> None:
    keys = []
    for options in ((), ("--observe",)):
        async with tidemark_up(tmp_path, own.environ() | {"TIDEMARK_AUTH": "on"}, sys.executable, *options) as up:
            await up.until_ready(180)
            _, out, _ = await tidemark(tmp_path, "env", "--output", "json")
            variables = json.loads(out)
            keys.append(variables["TIDEMARK_API_KEY"])
            assert sum(keys[0] in line for line in up.lines) == (1 if len(keys) == 1 else 0), (
                "printed once, when it is new"
            )
            assert not any("TIDEMARK_API_KEY" in child.environ() for child in up.children().values())
            async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
                url = f"{address(up.ports, 'QUERY')}/freshness"
                assert (await client.get(url)).status_code == 401
                assert (await client.get(url, headers={"Authorization": f"Bearer {keys[-1]}"})).status_code == 200
                if options:
                    await observed(tmp_path, client, variables["TIDEMARK_PROMETHEUS_URL"])
    assert keys[0] == keys[1]
    assert (tmp_path / ".tidemark" / "api_key").stat().st_mode & 0o777 == 0o600


async def observed(folder: Path, client: httpx.AsyncClient, prometheus: str) -> None:
    """Status, top and Prometheus see all of a system with authentication, without further settings."""
    _, out, errors = await tidemark(folder, "status", "--output", "json")
    found = json.loads(out)
    assert found["down"] == {}, errors
    assert set(found["projections"]) == set(NAMES)
    assert not [each for each in found["findings"] if each["kind"] == "unknown"]
    code, out, _ = await tidemark(folder, "status", "--output", "json", TIDEMARK_API_KEY="")
    assert code == 1
    assert "set TIDEMARK_API_KEY" in json.loads(out)["down"]["the query service"]
    code, out, errors = await tidemark(folder, "top", "--once", "--output", "json")
    assert code == 0, (out, errors)
    assert {each["name"]: each["error"] for each in json.loads(out)["processes"]} == dict.fromkeys(DEPLOYABLES)
    scraped: set[str] = set()
    async with asyncio.timeout(READY_WITHIN_S):
        while scraped != set(DEPLOYABLES):
            await asyncio.sleep(0.2)
            answer = await client.get(f"{prometheus}/api/v1/query", params={"query": 'up{job="tidemark"} == 1'})
            scraped = {each["metric"]["deployable"] for each in answer.raise_for_status().json()["data"]["result"]}
    rules = (await client.get(f"{prometheus}/api/v1/rules")).raise_for_status().json()["data"]["groups"]
    assert sum(len(group["rules"]) for group in rules) == len(ALERTS)


async def test_up_does_not_switch_authentication_off_where_others_can_reach_it(own: Servers, tmp_path: Path) -> None:
    async with tidemark_up(tmp_path, own.environ() | {"TIDEMARK_HOST": "0.0.0.0"}) as up:  # noqa: S104
        assert await up.ended() == 2
        assert any("TIDEMARK_AUTH=off is for this machine alone" in line for line in up.lines), up.lines


async def test_env_says_where_everything_is_as_long_as_it_is_running(own: Servers, tmp_path: Path) -> None:
    async with tidemark_up(tmp_path, own.environ()) as up:
        await up.until_ready()
        code, out, _ = await tidemark(tmp_path, "env", "--output", "json")
        assert code == 0
        variables: dict[str, str] = json.loads(out)
        assert own.environ().items() <= variables.items()
        assert variables["TIDEMARK_QUERY_URL"] == address(up.ports, "QUERY")
        assert variables["TIDEMARK_COMMAND_URL"] == address(up.ports, "COMMAND")
        code, out, errors = await tidemark(tmp_path, "health", "worker")
        assert (code, json.loads(out or "{}").get("ready")) == (0, True), errors
        _, out, _ = await tidemark(tmp_path, "env")
        shell = await asyncio.create_subprocess_exec(
            "/bin/sh", "-c", f"{out}\nenv", env={}, stdout=asyncio.subprocess.PIPE
        )
        told = dict(line.split("=", 1) for line in (await shell.communicate())[0].decode().splitlines())
        assert variables.items() <= told.items()
        assert urlsplit(variables["TIDEMARK_RABBITMQ_URL"]).path == "/%2F"
        assert await first_command(variables["TIDEMARK_RABBITMQ_URL"]) == "command.accepted"
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            asked = {"Tidemark-Consistency": "customers/env-1@1", "Prefer": "wait=10"}
            response = await client.get(f"{variables['TIDEMARK_QUERY_URL']}/customers/env-1", headers=asked)
            assert response.json()["name"] == "Ann"
    code, out, errors = await tidemark(tmp_path, "env")
    assert (code, out, errors.count("\n")) == (3, "", 1)
    assert "nothing is running in this folder" in errors


async def test_env_is_not_taken_in_by_what_a_killed_up_has_left(own: Servers, tmp_path: Path) -> None:
    async with tidemark_up(tmp_path, own.environ()) as up:
        await up.until_ready()
        children = up.children()
        up.process.kill()
        await up.process.wait()
        for child in children.values():
            child.kill()
    assert (tmp_path / ".tidemark" / "environment").exists()
    assert (await tidemark(tmp_path, "env"))[0] == 3
    code, _, errors = await tidemark(tmp_path, "send", "customers.register-customer", "{}")
    assert (code, "TIDEMARK_RABBITMQ_URL is not set" in errors) == (2, True)


async def first_command(url: str) -> str:
    """As a service of another language sends it: an envelope, a routing key, and a queue for the outcome. Returns the outcome's type."""
    connection = await aio_pika.connect(url, timeout=10)
    async with connection, asyncio.timeout(20):
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        kind = "customers.register-customer"
        envelope = {"specversion": "1.0", "id": "env-1", "source": "shop", "type": kind}
        body = json.dumps(envelope | {"data": {"customer_id": "env-1", "name": "Ann"}}).encode()
        exchange = await channel.get_exchange("commands")
        message = aio_pika.Message(
            body,
            content_type="application/cloudevents+json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            user_id=urlsplit(url).username,
            reply_to=queue.name,
            correlation_id="1",
        )
        await exchange.publish(message, kind)
        async with queue.iterator() as outcomes:
            async for outcome in outcomes:
                assert outcome.correlation_id == "1"
                return str(json.loads(outcome.body)["type"])
    raise AssertionError("no outcome")


async def test_up_says_which_deployable_was_killed_and_ends_the_others(own: Servers, tmp_path: Path) -> None:
    async with tidemark_up(tmp_path, own.environ()) as up:
        await up.until_ready()
        children = up.children()
        children["search"].kill()
        assert await up.ended() == 1
        assert any("search died: SIGKILL" in line for line in up.lines), up.lines
        assert not any(child.is_running() for child in children.values())
