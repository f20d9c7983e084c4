"""Listeners to events: so many from one address, and one who leaves makes room for another."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.integration.serving.conftest import Served, Start, answer
from tests.integration.serving.test_leaving import UPGRADE

SSE = "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"
WEB_SOCKET = f"GET /events/ws HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}\r\n\r\n"


async def status(served: Served, asked: str, stack: AsyncExitStack) -> int:
    reader, writer = await served.send(asked)
    stack.callback(writer.close)
    async with asyncio.timeout(10):
        return int((await reader.readuntil(b"\r\n\r\n")).split()[1])


@pytest.mark.parametrize("setting", ["listeners", "listeners_per_client"])
async def test_one_more_than_there_may_be_is_told_429_until_another_leaves(start: Start, setting: str) -> None:
    async with start("query", **{setting: 3}) as served, AsyncExitStack() as stack:
        async with AsyncExitStack() as first:
            assert await status(served, SSE, first) == 200
            assert await status(served, WEB_SOCKET, stack) == 101
            assert await status(served, SSE, stack) == 200
            for asked in (SSE, WEB_SOCKET):
                reader, writer = await served.send(asked)
                stack.callback(writer.close)
                code, headers, document = await answer(reader, within_s=10)
                assert (code, document["status"], document["code"]) == (429, 429, "too-many-listeners")
                assert (headers["retry-after"], headers["content-type"]) == ("10", "application/problem+json")
            assert (await served.client.get("/health/live")).status_code == 200
        async with asyncio.timeout(10):
            while await status(served, SSE, stack) != 200:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)
        assert served.log == ""
