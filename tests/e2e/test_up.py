"""``tidemark up``: starts, serves, stops cleanly on both signals, and says which deployable died."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from deploy.deployables import DEPLOYABLES
from deploy.local.servers import Servers
from tests.e2e.system import address, ports

pytestmark = pytest.mark.timeout(90)

READY_WITHIN_S = 40.0
OUT_WITHIN_S = 30.0


class Up:
    """A running ``tidemark up``, in a folder of its own."""

    def __init__(self, process: asyncio.subprocess.Process, chosen: dict[str, str]) -> None:
        self.process = process
        self.ports = chosen
        self.lines: list[str] = []

    async def until_ready(self) -> None:
        ready: set[str] = set()
        async with asyncio.timeout(READY_WITHIN_S):
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
async def tidemark_up(folder: Path, environ: dict[str, str]) -> AsyncIterator[Up]:
    chosen = ports()
    root = str(Path(__file__).parents[2])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "deploy.cli",
        "up",
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
    async with tidemark_up(tmp_path, own.environ()) as up:
        await up.until_ready()
        children = up.children()
        assert set(children) == set(DEPLOYABLES)
        customer = {"customer_id": f"up-{number.name}", "name": "Somebody"}
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            url = f"{address(up.ports, 'COMMAND')}/commands/customers.register-customer"
            response = await client.post(url, json=customer, headers={"Prefer": "wait=10"})
            assert response.status_code == 200, response.text
            assert (await client.get(f"{address(up.ports, 'QUERY')}/health/ready")).status_code == 200
        remembered = tmp_path / ".tidemark" / "environment"
        assert remembered.stat().st_mode & 0o777 == 0o600
        began = time.monotonic()
        up.process.send_signal(number)
        assert await up.ended() == 0, up.lines
        assert time.monotonic() - began < OUT_WITHIN_S
        assert not any(child.is_running() for child in children.values())
        assert not remembered.exists()
        assert not any("Traceback" in line or "died" in line for line in up.lines), up.lines


async def test_up_says_which_deployable_was_killed_and_ends_the_others(own: Servers, tmp_path: Path) -> None:
    async with tidemark_up(tmp_path, own.environ()) as up:
        await up.until_ready()
        children = up.children()
        children["search"].kill()
        assert await up.ended() == 1
        assert any("search died: SIGKILL" in line for line in up.lines), up.lines
        assert not any(child.is_running() for child in children.values())
