"""A process with few file descriptors: it says no in time, never spins, and goes on for those who only ask."""

import asyncio
import resource
import time
from contextlib import AsyncExitStack

from tests.integration.serving.conftest import ANEW, Start, answer

FEW = 200
LISTENERS = 300
AT_ONCE = 50
"""Connections that are being made at the same time."""
SOON_S = 3.0
WATCH_S = 2.0
LISTEN = "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def test_more_listeners_than_file_descriptors_cost_neither_cpu_nor_anybody_s_answer(start: Start) -> None:
    async with start("query", descriptors=f"-n {FEW}") as served, AsyncExitStack() as stack:
        slots = asyncio.Semaphore(AT_ONCE)

        async def listen() -> int:
            async with slots:
                reader, writer = await served.send(LISTEN)
                stack.callback(writer.close)
                async with asyncio.timeout(SOON_S):
                    status = int((await reader.readuntil(b"\r\n")).split()[1])
                if status == 429:
                    head = await reader.readuntil(b"\r\n\r\n")
                    assert b"retry-after: " in head
                    assert b"application/problem+json" in head
                return status

        statuses = await asyncio.gather(*(listen() for _ in range(LISTENERS)))
        assert set(statuses) == {200, 429}
        assert statuses.count(200) >= FEW // 4
        before, began = served.cpu_seconds(), time.monotonic()
        while time.monotonic() - began < WATCH_S:
            async with asyncio.timeout(SOON_S):
                assert (await served.client.get("/orders/none", headers=ANEW)).status_code == 404
            await asyncio.sleep(0.05)
        assert served.cpu_seconds() - before < WATCH_S / 2
        assert served.log == ""


async def test_every_deployable_raises_the_soft_limit_to_the_hard_one(start: Start) -> None:
    """One that serves no HTTP, for granian raises it by itself."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with start("summary", descriptors=f"-S -n {FEW}") as projector:
        assert projector.process.rlimit(resource.RLIMIT_NOFILE)[0] == min(hard, 65_536)


async def test_too_few_to_serve_with_is_one_clear_line(start: Start) -> None:
    async with start("http", descriptors="-n 100", fails=True) as served:
        assert served.log == "http: this process may open too few files (ulimit -n): it needs 128\n"


async def test_of_requests_that_only_wait_those_beyond_the_places_are_told_so(start: Start) -> None:
    """Health is asked for without a place."""
    asked = "GET /orders/none HTTP/1.1\r\nHost: localhost\r\nTidemark-Consistency: orders/never@1\r\nPrefer: wait=20\r\n\r\n"
    async with start("query", descriptors=f"-n {FEW}") as served, AsyncExitStack() as stack:
        readers = []
        for _ in range(95):
            reader, writer = await served.send(asked)
            stack.callback(writer.close)
            readers.append(reader)
        status, headers, document = await answer(readers[-1], within_s=SOON_S)
        assert (status, document["code"], headers["retry-after"]) == (503, "overloaded", "1")
        async with asyncio.timeout(SOON_S):
            assert (await served.client.get("/health/live", headers=ANEW)).status_code == 200
