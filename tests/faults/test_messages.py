"""What the broker may do to messages, and what an event may do to a projection: lost, doubled, shuffled, poisonous."""

import asyncio
from collections.abc import Iterator, Sequence

import aio_pika
import asyncpg
import pytest
from redis.asyncio import Redis

from deploy.sending.batches import CommandMessage, command_message
from shared.messages.envelope import BATCH_CONTENT_TYPE, pack
from shared.messaging import topology
from shared.views import operations
from shared.views.analytics import Keys
from tests import shop
from tests.e2e.event_store import append_raw
from tests.faults.audit import caught_up, differences
from tests.faults.cluster import Cluster
from tests.faults.load import Load, demo_commands, demo_size, loading, order_lifecycles, step
from tests.faults.losses import lose_events
from tests.faults.poison import letters, replay_everything, replayed
from tests.faults.waiting import fetch, until

pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]

ORDERS = 500
LIVES = 800
FOLLOWERS = 10

HELD = "SELECT * FROM held WHERE stream = $1"
PRICES = "SELECT price FROM price_history WHERE product_id = 'changing' ORDER BY version"


async def settled(cluster: Cluster, load: Load) -> None:
    await load.finished()
    await caught_up(cluster, load)
    assert await differences(cluster, load) == {}


@pytest.mark.parametrize("projector", shop.WITH_ORDERS)
async def test_events_that_the_broker_lost_come_again_when_later_ones_show_the_gap(
    cluster: Cluster, projector: str
) -> None:
    async with loading(cluster, order_lifecycles(LIVES), 4 * LIVES, window=100) as load:
        assert await lose_events(cluster, projector, load, upto=0.6) > 100
        await settled(cluster, load)


async def test_losses_duplicates_and_shuffles_in_one_mixture_change_nothing(cluster: Cluster) -> None:
    """Each projection loses others; all get everything again, in any order, up to the very end."""
    async with loading(cluster, order_lifecycles(LIVES), 4 * LIVES, window=50) as load:
        repeating = asyncio.create_task(_repeating(cluster, load))
        lost = await asyncio.gather(*(lose_events(cluster, name, load, upto=1) for name in shop.WITH_ORDERS))
        await repeating
        await settled(cluster, load)
    assert all(lost), lost


async def test_duplicates_in_any_order_change_nothing(cluster: Cluster) -> None:
    async with loading(cluster, order_lifecycles(LIVES), 4 * LIVES, window=100) as load:
        await _repeating(cluster, load)
        await settled(cluster, load)


async def _repeating(cluster: Cluster, load: Load) -> None:
    """While the load lasts, and once more at its end."""
    while not load.sending.done():
        await _publish_again(cluster)
        await asyncio.sleep(0.2)
    await _publish_again(cluster)


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
    async with loading(cluster, [step("place", "poisoned")], 1) as load:
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
    async with loading(cluster, [step("pay", "poisoned"), step("ship", "poisoned")], 2) as later:
        await later.finished()
    async with loading(cluster, demo_commands(ORDERS), demo_size(ORDERS)) as load:
        await load.finished()
        await caught_up(cluster, load)
    for name, url in (("summary", cluster.servers.stores["summary"]), ("search", cluster.servers.stores["search"])):
        held = await _until_dead(name, url, poisoned, seen=4)
        assert (held["version"], held["seen"], held["reason"]) == (2, 4, "projection-failed")
        assert held["attempts"] == len(topology.RETRY_TIERS) + 1
    async with Redis.from_url(cluster.servers.stores["analytics"], decode_responses=True) as redis:
        assert await redis.hget(Keys().positions, poisoned) == "4"
    assert await _origins_of_letters(cluster) == {"summary", "search"}
    found = await differences(cluster, load, but=frozenset({poisoned}))
    assert set(found) <= {"answered otherwise than kept", "accepted and not in the event store"}


async def test_a_stream_whose_first_event_fails_waits_whole_and_comes_in_order(cluster: Cluster) -> None:
    """Ten events follow it: they cost no row and no letter of their own."""
    stream = "products/changing"
    await cluster.start_with("summary", TIDEMARK_POISON=f"summary:{stream}", TIDEMARK_SUMMARY_RETRIES="1")
    prices = list(range(100, 100 + FOLLOWERS))
    async with loading(cluster, _changing(prices), 1 + FOLLOWERS, window=1) as load:
        await load.finished()
        assert load.versions == {stream: 1 + FOLLOWERS}
        held = await _until_dead("summary", cluster.servers.stores["summary"], stream, seen=1 + FOLLOWERS)
        assert (held["version"], held["seen"], held["attempts"]) == (1, 1 + FOLLOWERS, 2)
        assert await until(lambda: letters(cluster)) == [(stream, 1)]
        await caught_up(cluster, load, but=frozenset({stream}))
        await cluster.start_with("summary")
        await replayed(cluster, await replay_everything(cluster))
        await settled(cluster, load)
    rows = await fetch(cluster.servers.stores["summary"], PRICES, schema="summary")
    assert [row["price"] for row in rows] == [50, *prices]


def _changing(prices: Sequence[int]) -> Iterator[CommandMessage]:
    product = {"product_id": "changing", "name": "Tea", "category": "Drinks", "price": 50, "currency": "EUR"}
    yield command_message("catalog.create-product", "create-changing", product, source="tests")
    for price in prices:
        id_ = f"change-{price}"
        yield command_message("catalog.change-price", id_, {"price": price}, source="tests", subject="changing")


async def _origins_of_letters(cluster: Cluster) -> set[str]:
    rows = await fetch(cluster.servers.operations_db_url, "SELECT origin FROM letters", schema=operations.SCHEMA)
    return {row["origin"] for row in rows}


async def _until_dead(schema: str, url: str, stream: str, *, seen: int) -> asyncpg.Record:
    """The hold of the stream, once it is dead and knows of so many versions."""
    [held] = await until(
        lambda: fetch(url, HELD, stream, schema=schema),
        lambda rows: bool(rows) and (rows[0]["status"], rows[0]["seen"]) == ("dead", seen),
    )
    return held
