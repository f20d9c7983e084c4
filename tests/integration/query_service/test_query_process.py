"""The process: says when it is ready, serves, and ends when it is told to."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from deploy.servers.ports import free_port
from deploy.servers.provide import Servers
from shared.runtime.settings import Settings

pytestmark = pytest.mark.usefixtures("shop")


@asynccontextmanager
async def started(environ: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "query_service"),
        env={**os.environ, **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@pytest.fixture
def environ(servers: Servers, query_urls: tuple[str, str], migrated: Settings) -> dict[str, str]:
    return {
        "TIDEMARK_SUMMARY_DB_URL": query_urls[1],
        "TIDEMARK_SEARCH_DB_URL": query_urls[1],
        "TIDEMARK_TELEMETRY_DB_URL": query_urls[1],
        "TIDEMARK_ANALYTICS_REDIS_URL": servers.reader_stores["analytics"],
        "TIDEMARK_RABBITMQ_URL": migrated.rabbitmq_url,
        "TIDEMARK_QUERY_PORT": str(free_port()),
    }


async def ready(process: asyncio.subprocess.Process) -> str:
    assert process.stdout
    async with asyncio.timeout(30):
        return (await process.stdout.readline()).decode()


async def test_it_serves_and_stops_on_sigterm_even_with_connections_open(environ: dict[str, str]) -> None:
    async with started(environ) as process, httpx.AsyncClient(trust_env=False) as client:
        line = await ready(process)
        assert line.startswith("tidemark ready: query http://127.0.0.1:")
        url = line.split()[-1]
        answers = await asyncio.gather(*(client.get(f"{url}/orders/o{number:02}") for number in range(40)))
        assert {answer.status_code for answer in answers} == {200}
        assert (await client.get(f"{url}/health/ready")).json() == {"status": "ready"}
        head = await client.head(f"{url}/orders/o01")
        assert (head.status_code, head.content) == (200, b"")
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(8):
            assert await process.wait() == 0
        assert process.stderr
        said = (await process.stderr.read()).decode().splitlines()
        assert [line for line in said if "authentication is off" not in line] == []


@pytest.mark.parametrize(
    "path", ["/orders/%00", "/orders/%ED%A0%80", "/orders/%FF", "/orders?status=%FF", "/orders?\xff"]
)
async def test_bytes_that_no_client_library_sends_are_refused(environ: dict[str, str], path: str) -> None:
    async with started(environ) as process:
        await ready(process)
        reader, writer = await asyncio.open_connection("127.0.0.1", int(environ["TIDEMARK_QUERY_PORT"]))
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode("latin-1"))
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 400 ")


async def test_it_starts_and_lives_without_any_store(environ: dict[str, str]) -> None:
    nowhere = {name: f"postgresql://nobody@127.0.0.1:{free_port()}/none" for name in environ if name.endswith("DB_URL")}
    nowhere["TIDEMARK_ANALYTICS_REDIS_URL"] = f"redis://127.0.0.1:{free_port()}"
    async with started({**environ, **nowhere}) as process, httpx.AsyncClient(trust_env=False) as client:
        url = (await ready(process)).split()[-1]
        assert (await client.get(f"{url}/health/live")).status_code == 200
        assert (await client.get(f"{url}/health/ready")).status_code == 503
        assert (await client.get(f"{url}/orders/o01")).status_code == 503


async def test_a_port_that_is_taken_is_one_clear_line(environ: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with started({**environ, "TIDEMARK_QUERY_PORT": str(port)}) as process:
            async with asyncio.timeout(30):
                out, error = await process.communicate()
    assert (process.returncode, out) == (1, b"")
    assert error.decode().splitlines()[-1] == f"query: cannot listen on 127.0.0.1 port {port}: Address already in use"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("TIDEMARK_SUMMARY_DB_URL", "", "TIDEMARK_SUMMARY_DB_URL is not set"),
        ("TIDEMARK_QUERY_PORT", "many", "query_port"),
    ],
)
async def test_a_wrong_setting_is_one_clear_line(environ: dict[str, str], name: str, value: str, says: str) -> None:
    async with started({**environ, name: value}) as process:
        async with asyncio.timeout(30):
            out, error = await process.communicate()
    assert (process.returncode, out) == (1, b"")
    assert says in error.decode()
    assert len(error.decode().strip().splitlines()) == 1
