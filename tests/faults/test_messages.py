"""What the broker may do to messages, and what an event may do to a projection: lost, doubled, shuffled, poisonous."""

import asyncio
from collections.abc import Iterator
from typing import Any

import aio_pika
import asyncpg
import pytest
from redis.asyncio import Redis

from deploy.parcels import CommandMessage, command_message
from shared import topology
from shared.contracts.envelope import BATCH_CONTENT_TYPE, pack
from shared.views import operations
from shared.views.analytics import Keys
from tests.e2e.event_store import append_raw
from tests.faults.audit import caught_up, differences
from tests.faults.cluster import Cluster
from tests.faults.load import Load, demo_commands, demo_size, loading

pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]

ORDERS = 3000
LIVES = 800
STEPS = ("place", "pay", "ship", "deliver")


def lives(count: int) -> Iterator[CommandMessage]:
    """Orders that are placed, then all paid, then all shipped, then all delivered."""
    for step in STEPS:
        for number in range(count):
            yield _step(step, f"life-{number}")


def _step(step: str, order_id: str) -> CommandMessage:
    line = {"product_id": "p", "quantity": 1, "amount": 5}
    placing: dict[str, Any] = {"order_id": order_id, "customer_id": "c", "currency": "EUR", "lines": [line]}
    data: dict[str, Any] = {"place": placing, "pay": {"amount": 5}}.get(step, {})
    return command_message(f"orders.{step}-order", f"{step}-{order_id}", data, source="tests", subject=order_id)


async def settled(cluster: Cluster, load: Load) -> None:
    await load.finished()
    await caught_up(cluster, load)
    assert await differences(cluster, load) == {}


@pytest.mark.parametrize("projector", topology.PROJECTORS)
async def test_events_that_the_broker_lost_come_again_when_later_ones_show_the_gap(
    cluster: Cluster, projector: str
) -> None:
    published_meanwhile = 0
    async with await aio_pika.connect(cluster.servers.rabbitmq_url) as connection:
        channel = await connection.channel()
        queues = [await channel.get_queue(topology.lane_queue(projector, lane), ensure=False) for lane in range(4)]
        async with loading(cluster, lives(LIVES), 4 * LIVES, window=100) as load:
            while len(load.outcomes) < 0.6 * load.total:
                before = len(load.outcomes)
                # What is published while the queue is not bound is lost, to this projector alone.
                for lane, queue in enumerate(queues):
                    await queue.unbind(topology.EVENTS, topology.lane_key(lane))
                await cluster.pause(0.02, 0.1)
                for lane, queue in enumerate(queues):
                    await queue.bind(topology.EVENTS, topology.lane_key(lane))
                    await queue.purge()
                published_meanwhile += len(load.outcomes) - before
                await cluster.pause(0.02, 0.1)
            await settled(cluster, load)
    assert published_meanwhile > 100


async def test_duplicates_in_any_order_change_nothing(cluster: Cluster) -> None:
    async with loading(cluster, lives(LIVES), 4 * LIVES, window=100) as load:
        while not load.sending.done():
            await _publish_again(cluster)
            await asyncio.sleep(0.2)
        await _publish_again(cluster)
        await settled(cluster, load)


async def _publish_again(cluster: Cluster) -> None:
    """Every event that there is, shuffled, in messages of any size, to all projectors."""
    database = await asyncpg.connect(cluster.servers.write_db_url)
    rows = await database.fetch("SELECT stream, envelope::text AS envelope FROM events")
    await database.close()
    cluster.random.shuffle(rows)
    async with await aio_pika.connect(cluster.servers.rabbitmq_url) as connection:
        events = await (await connection.channel()).get_exchange(topology.EVENTS, ensure=False)
        for lane in range(4):
            envelopes = [row["envelope"].encode() for row in rows if topology.lane_of(row["stream"], 4) == lane]
            while envelopes:
                size = cluster.random.randint(1, 100)
                message = aio_pika.Message(pack(envelopes[:size]), content_type=BATCH_CONTENT_TYPE)
                await events.publish(message, topology.lane_key(lane))
                envelopes = envelopes[size:]


async def test_an_event_that_fails_in_some_projections_holds_its_stream_there_and_nothing_else(
    cluster: Cluster,
) -> None:
    """A payment for an order that no read model has: summary and search cannot apply it, analytics does not care."""
    poisoned = "orders/poisoned"
    async with loading(cluster, [_step("place", "poisoned")], 1) as load:
        await load.finished()
        await caught_up(cluster, load)
    payment = {
        "order_id": "ghost",
        "customer_id": "c",
        "amount": 5,
        "currency": "EUR",
        "paid_at": "2026-01-01T00:00:00Z",
    }
    await append_raw(cluster.servers.write_db_url, poisoned, 2, "orders.order-paid", payment)
    async with loading(cluster, [_step("pay", "poisoned"), _step("ship", "poisoned")], 2) as later:
        await later.finished()
    async with loading(cluster, demo_commands(ORDERS), demo_size(ORDERS)) as load:
        await load.finished()
        await caught_up(cluster, load)
    for name, url in (("summary", cluster.servers.summary_db_url), ("search", cluster.servers.search_db_url)):
        held = await _until_dead(name, url, poisoned)
        assert (held["version"], held["seen"], held["reason"]) == (2, 4, "projection-failed")
        assert held["attempts"] == len(topology.RETRY_TIERS) + 1
    async with Redis.from_url(cluster.servers.analytics_redis_url, decode_responses=True) as redis:
        assert await redis.hget(Keys().positions, poisoned) == "4"
    assert await _origins_of_letters(cluster) == {"summary", "search"}
    found = await differences(cluster, load, but=frozenset({poisoned}))
    assert set(found) <= {"answered otherwise than kept", "accepted and not in the event store"}


async def _origins_of_letters(cluster: Cluster) -> set[str]:
    connection = await asyncpg.connect(
        cluster.servers.operations_db_url, server_settings={"search_path": operations.SCHEMA}
    )
    rows = await connection.fetch("SELECT origin FROM letters")
    await connection.close()
    return {row["origin"] for row in rows}


async def _until_dead(schema: str, url: str, stream: str) -> asyncpg.Record:
    connection = await asyncpg.connect(url, server_settings={"search_path": schema})
    try:
        async with asyncio.timeout(60):
            while True:
                held = await connection.fetchrow("SELECT * FROM held WHERE stream = $1", stream)
                if held is not None and held["status"] == "dead":
                    return held
                await asyncio.sleep(0.2)
    finally:
        await connection.close()
