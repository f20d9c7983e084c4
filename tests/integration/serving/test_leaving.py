"""A client that leaves, wherever it is in its request or in the answer, is no error of ours: nothing is logged."""

import asyncio
import base64
import os

import pytest

from tests.integration.serving.conftest import Served, Start

MEGABYTE = 1024 * 1024
LEAVE = 40
WS_KEY = base64.b64encode(os.urandom(16)).decode()
UPGRADE = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {WS_KEY}"


async def leave(served: Served, text: str) -> None:
    """Send this, and reset the connection."""
    _, writer = await served.send(text)
    await writer.drain()
    writer.transport.abort()


async def listen_and_leave(served: Served, text: str) -> int:
    """The answer's status; the connection is reset after its head."""
    reader, writer = await served.send(text)
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()
    return int(head.split()[1])


async def still_serves(served: Served) -> None:
    """Long enough after them for whatever they cause."""
    for _ in range(10):
        assert (await served.client.get("/health/live")).status_code == 200
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("service", ["http", "query"])
async def test_who_leaves_in_mid_body_leaves_no_line_in_the_log(start: Start, service: str) -> None:
    async with start(service) as served:

        async def left(framing: str, sent: str) -> None:
            _, writer = await served.begin_body(framing, sent)
            await writer.drain()
            await asyncio.sleep(0.1)
            writer.transport.abort()

        kinds = [("Content-Length: 1000", '{"a'), ("Transfer-Encoding: chunked", '3\r\n{"a\r\n')]
        await asyncio.gather(*(left(*kinds[number % 2]) for number in range(LEAVE)))
        # Above the limit: who goes on sending is read on for a while, and may leave then too.
        await asyncio.gather(*(left(f"Content-Length: {8 * MEGABYTE}", "x" * MEGABYTE) for _ in range(4)))
        await still_serves(served)
        assert served.log == ""


async def test_who_leaves_before_the_answer_leaves_no_line_in_the_log(start: Start) -> None:
    wait = "Host: localhost\r\nTidemark-Consistency: orders/never@1\r\nPrefer: wait=1\r\n\r\n"
    async with start("query") as served:
        await asyncio.gather(*(leave(served, f"GET /orders/x HTTP/1.1\r\n{wait}") for _ in range(LEAVE)))
        await asyncio.gather(*(leave(served, "GET /schema HTTP/1.1\r\nHost: localhost\r\n\r\n") for _ in range(LEAVE)))
        await asyncio.sleep(1)
        await still_serves(served)
        assert served.log == ""


@pytest.mark.parametrize(
    "asked",
    ["GET /events HTTP/1.1", f"GET /events/ws HTTP/1.1\r\n{UPGRADE}"],
    ids=["sse", "websocket"],
)
async def test_a_listener_that_leaves_leaves_no_line_in_the_log_and_no_listener(start: Start, asked: str) -> None:
    async with start("query", listeners_per_client=LEAVE) as served:

        async def listened() -> list[int]:
            text = f"{asked}\r\nHost: localhost\r\n\r\n"
            return await asyncio.gather(*(listen_and_leave(served, text) for _ in range(LEAVE)))

        assert 429 not in await listened()
        async with asyncio.timeout(10):
            while 429 in await listened():  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.2)
        await still_serves(served)
        assert served.log == ""
