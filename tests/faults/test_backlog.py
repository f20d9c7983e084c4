"""Backlogs: five million events in the outbox, a million messages in a lane. Memory is bounded and the rate is steady.

Each is measured for a while, not waited for to its end; what was measured is printed (``pytest -s``).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

import aiormq
import asyncpg
import psutil
import pytest
from aiormq import spec
from aiormq.abc import ChannelFrame
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from deploy.run.deployables import program
from deploy.run.supervisor import Supervisor
from deploy.servers.provide import Servers
from shared.messages.envelope import CONTENT_TYPE, EventEnvelope
from shared.messaging import topology
from tests.faults.audit import queue_depths
from tests.faults.cluster import empty
from tests.faults.waiting import until
from tests.shop import placed

pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]

ROWS: Final = 5_000_000
MESSAGES: Final = 1_000_000
AT_ONCE: Final = 1000
PLACE: Final = b"0000000"
"""Where a number goes."""
LANE: Final = 0
MEASURED_S: Final = 10.0
MOST_GROWTH: Final = 100 * 1024**2
STEADY: Final = 0.5
"""The second half of what is measured runs at no less than this part of the first half's rate."""

FILL: Final = """
INSERT INTO outbox (stream, hash, type, envelope)
SELECT 'orders/' || (n % 100000), n, 'orders.order-placed', '{"n": ' || n || ', "data": "' || repeat('x', 40) || '"}'
FROM generate_series(1, $1::bigint) AS n
"""
LEFT: Final = "SELECT min(id) FROM outbox"


@asynccontextmanager
async def running(servers: Servers, name: str) -> AsyncIterator[psutil.Process]:
    """This deployable alone."""
    async with Supervisor(None) as supervisor:
        await supervisor.start([program(name, servers)])
        yield psutil.Process(supervisor.pid(name))
        assert supervisor.running(name)


async def steady(what: str, process: psutil.Process, done: Callable[[], Awaitable[int]]) -> None:
    """``done``: how much so far. Measures two halves, and the most memory that the process has meanwhile."""
    before = highest = process.memory_info().rss
    rates = []
    for _ in range(2):
        began, start = time.monotonic(), await done()
        while time.monotonic() - began < MEASURED_S / 2:
            highest = max(highest, process.memory_info().rss)
            await asyncio.sleep(0.1)
        rates.append((await done() - start) / (time.monotonic() - began))
    print(f"{what}: {rates[0]:.0f}, then {rates[1]:.0f} a second; {highest / 1024**2:.0f} MiB at most")
    assert rates[1] > STEADY * rates[0] > 0
    assert highest - before < MOST_GROWTH


async def test_an_outbox_of_five_million_rows_drains_steadily_in_bounded_memory(bare: Servers) -> None:
    connection = await asyncpg.connect(bare.write_db_url)
    try:
        await connection.execute(FILL, ROWS, timeout=150)
        first: int = await connection.fetchval(LEFT)

        async def published() -> int:
            left: int = await connection.fetchval(LEFT)
            return left - first

        async with running(bare, "relay") as process:
            await steady(f"relay, {ROWS:,} rows in the outbox", process, published)
    finally:
        await connection.close()
        await empty(bare)


async def test_a_lane_with_a_long_queue_drains_steadily_in_bounded_memory(bare: Servers) -> None:
    queue = topology.lane_queue("summary", LANE)
    await _publish(bare, queue)

    async def taken() -> int:
        return MESSAGES - (await queue_depths(bare.rabbitmq_url))[queue]

    try:
        async with running(bare, "summary") as process:
            await steady(f"summary, {MESSAGES:,} messages in a lane", process, taken)
    finally:
        await empty(bare)


async def _publish(servers: Servers, queue: str) -> None:
    """One event in each message, each of a stream of its own; made by writing numbers into the frames of one of them."""
    connection = await aiormq.connect(servers.rabbitmq_url)
    try:
        channel = await connection.channel(publisher_confirms=False)
        body = _placed()
        properties = spec.Basic.Properties(content_type=CONTENT_TYPE, delivery_mode=2)
        frames: list[Any] = [
            spec.Basic.Publish(exchange="", routing_key=queue),
            ContentHeader(properties=properties, body_size=len(body)),
            ContentBody(body),
        ]
        frame = ChannelFrame.marshall(channel.number, frames).payload
        for start in range(0, MESSAGES, AT_ONCE):
            numbers = range(start, start + AT_ONCE)
            payload = b"".join(frame.replace(PLACE, b"%07d" % number) for number in numbers)
            sent = asyncio.get_running_loop().create_future()
            await channel.write_queue.put(ChannelFrame(payload, should_close=False, drain_future=sent))  # type: ignore[attr-defined]
            await sent
        await until(lambda: queue_depths(servers.rabbitmq_url), lambda depths: depths[queue] == MESSAGES, within_s=120)
    finally:
        await connection.close()


def _placed() -> bytes:
    order = f"backlog-{PLACE.decode()}"
    envelope = EventEnvelope(
        id=f"orders/{order}@1",
        source="tests",
        type="orders.order-placed",
        subject=f"orders/{order}",
        time=datetime.now(UTC),
        data=placed(order),
        streamversion=1,
        schemaversion=1,
        causationid="tests",
        correlationid="tests",
    )
    return envelope.to_json()
