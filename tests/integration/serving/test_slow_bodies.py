"""Bodies that come slowly, or never: refused in time, and meanwhile everybody else is served."""

import asyncio
from collections.abc import Awaitable
from contextlib import AsyncExitStack, suppress
from typing import TypeVar

import pytest
from litestar import Litestar, get

from deploy.servers.ports import free_port
from shared.http import server
from shared.http.bodies import GRACE_S, SPREAD_S
from tests.integration.serving.conftest import ANEW, Served, Start, answer

SOON_S = 3.0
SLOW = 250
FEW = 200
"""File descriptors: some hundred connections, far fewer than there are slow bodies."""

T = TypeVar("T")


async def soon(awaited: Awaitable[T]) -> T:
    return await asyncio.wait_for(awaited, SOON_S)


@pytest.mark.parametrize("service", ["http", "query"])
async def test_a_body_that_comes_too_slowly_is_answered_408_and_the_connection_closed(
    start: Start, service: str
) -> None:
    async with start(service) as served:
        kinds = [
            ("Content-Length: 1000", ""),
            ("Content-Length: 1000", "x"),
            ("Transfer-Encoding: chunked", "1\r\nx\r\n"),
        ]
        answers = await asyncio.gather(*(_trickled(served, framing, piece) for framing, piece in kinds))
        for status, headers, document in answers:
            assert (status, document["code"], document["status"]) == (408, "body-too-slow", 408)
            assert headers["content-type"] == "application/problem+json"
            assert headers["connection"] == "close"
        assert "Traceback" not in served.log


async def _trickled(served: Served, framing: str, piece: str) -> tuple[int, dict[str, str], dict[str, object]]:
    """The answer to a body of which a piece comes every half second, for longer than any body has."""
    reader, writer = await served.begin_body(framing)
    answered = asyncio.create_task(answer(reader, within_s=GRACE_S + SPREAD_S + SOON_S))
    try:
        while not answered.done():
            with suppress(ConnectionError):
                writer.write(piece.encode())
                await writer.drain()
            await asyncio.wait({answered}, timeout=0.5)
        return answered.result()
    finally:
        writer.close()


@pytest.mark.parametrize("service", ["http", "query"])
async def test_slow_bodies_take_nobody_s_place(start: Start, service: str) -> None:
    async with start(service, descriptors=f"-n {FEW}") as served, AsyncExitStack() as stack:
        for _ in range(SLOW):
            _, writer = await soon(served.begin_body("Content-Length: 1000", "{"))
            stack.callback(writer.close)
            path, status = ("/commands/none", 404) if service == "http" else ("/orders/none", 404)
            assert (await soon(served.client.get(path, headers=ANEW))).status_code == status
        if service == "http":
            body = {"customer_id": "slow-bodies", "name": "Ann"}
            sent = await soon(served.client.post("/commands/customers.register-customer", json=body, headers=ANEW))
            assert sent.status_code == 202
        assert (await soon(served.client.get("/health/live", headers=ANEW))).status_code == 200


async def test_a_connection_that_says_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that might go on in HTTP/2 would be waited for without end, at its first byte."""
    monkeypatch.setattr(server, "HEADERS_S", 0.5)
    port, stopping = free_port(), asyncio.Event()
    served = server.HttpServer(Litestar([alive], logging_config=None), "127.0.0.1", port)
    serving = asyncio.create_task(served.run(stopping))
    while served.trouble is not None:  # noqa: ASYNC110 - the server's own
        await asyncio.sleep(0.02)
    for sent in (b"", b"P", b"GET / HTTP/1.1\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        assert await soon(reader.read()) == b""
        writer.close()
    stopping.set()
    await soon(serving)


@get("/health/live", sync_to_thread=False)
def alive() -> dict[str, str]:
    return {}


async def test_whose_place_is_needed_is_told_to_come_again(start: Start) -> None:
    async with start("http", descriptors=f"-n {FEW}") as served, AsyncExitStack() as stack:
        readers = []
        for _ in range(SLOW):
            reader, writer = await soon(served.begin_body("Content-Length: 1000", "{"))
            readers.append(reader)
            stack.callback(writer.close)
        status, headers, document = await answer(readers[0], within_s=SOON_S)
        assert (status, document["code"], headers["retry-after"]) == (503, "overloaded", "1")
        assert [(await answer(readers[-1], within_s=GRACE_S + SPREAD_S + SOON_S))[0]] == [408]
