"""Both HTTP services as processes of their own, with as few file descriptors as a test wants them to have."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from deploy.run.deployables import DEPLOYABLES
from deploy.servers.ports import free_port
from deploy.servers.provide import Servers
from shared.runtime.settings import Settings

KEY = "the-operators-key"
START_WITHIN_S = 120.0
ANEW = {"Connection": "close"}
"""On a connection of its own: one that is there already says nothing about new ones."""
JSON = "Content-Type: application/json"
SLOW_ROUTES = {
    "http": f"POST /commands/orders.place-order HTTP/1.1\r\n{JSON}",
    "query": f"POST /dead-letters/replay HTTP/1.1\r\n{JSON}\r\nTidemark-Actor: ann\r\nAuthorization: Bearer {KEY}",
}
"""A request of each service that has a body, without the header that says how long it is."""


class Served:
    """A service that answers; ``log`` is what it has written to stderr."""

    def __init__(self, name: str, port: int, pid: int, log: Path, client: httpx.AsyncClient) -> None:
        self.name = name
        self.port = port
        self.pid = pid
        self.client = client
        self._log = log

    @property
    def log(self) -> str:
        """Beside what a service says of itself at its start, which is not what these tests are about."""
        lines = self._log.read_text().splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith("INFO ") and "authentication is off" not in line)

    async def send(self, text: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection of its own, on which this has been sent."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(text.encode())
        return reader, writer

    async def begin_body(self, framing: str, sent: str = "") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await self.send(f"{SLOW_ROUTES[self.name]}\r\nHost: localhost\r\n{framing}\r\n\r\n{sent}")

    @property
    def process(self) -> psutil.Process:
        return psutil.Process(self.pid)

    def cpu_seconds(self) -> float:
        times = self.process.cpu_times()
        return times.user + times.system


async def answer(reader: asyncio.StreamReader, *, within_s: float) -> tuple[int, dict[str, str], Any]:
    """Status, headers, and the document, of a connection that the server then closes."""
    async with asyncio.timeout(within_s):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(status.split()[1]), headers, json.loads(body)


Start = Callable[..., AbstractAsyncContextManager[Served]]


@pytest.fixture
def start(migrated: Settings, servers: Servers, tmp_path: Path) -> Start:
    @asynccontextmanager
    async def started(
        name: str, *, descriptors: str | None = None, fails: bool = False, **settings: object
    ) -> AsyncIterator[Served]:
        port = free_port()
        own = {"TIDEMARK_COMMAND_PORT": port, "TIDEMARK_QUERY_PORT": port, "TIDEMARK_OPERATOR_KEY": KEY}
        given = own | {f"TIDEMARK_{key.upper()}": value for key, value in settings.items()}
        urls = servers.environ_of(name)
        environ = {**os.environ, **urls, **{key: str(value) for key, value in given.items()}}
        async with running(name, environ, tmp_path / f"{name}.log", descriptors, fails) as pid:
            address = f"http://127.0.0.1:{port}"
            async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=10) as client:
                yield Served(name, port, pid, tmp_path / f"{name}.log", client)

    return started


@asynccontextmanager
async def running(
    name: str, environ: Mapping[str, str], log: Path, descriptors: str | None, fails: bool
) -> AsyncIterator[int]:
    """``descriptors``: what ``ulimit`` is given; ``fails``: the process is to end instead of serving."""
    limit = f"ulimit {descriptors}; " if descriptors else ""
    module = " ".join(DEPLOYABLES[name].arguments)
    with log.open("w") as lines:
        process = await asyncio.create_subprocess_exec(
            *("sh", "-c", f'{limit}exec "$0" -m {module}', sys.executable),
            env=environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=lines,
        )
    try:
        assert process.stdout
        async with asyncio.timeout(START_WITHIN_S):
            ready = (await process.stdout.readline()).startswith(b"tidemark ready")
            assert ready is not fails
        yield process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
