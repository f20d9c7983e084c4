"""The gauges of the operators' database and of the queues say what is there, and nothing once it cannot be read."""

import asyncio
from collections.abc import Iterator

import aio_pika
import pytest

from projectors.dead_letters import figures, queue_figures
from projectors.dead_letters.figures import OperationsFigures
from projectors.dead_letters.queue_depths import QueueDepths
from projectors.dead_letters.queue_figures import QueueFigures
from shared.messaging import topology
from shared.messaging.broker import Publisher
from shared.messaging.consuming import Consumer
from shared.observability.families import FAMILIES, REGISTRY
from shared.observability.sampling import Figures
from shared.runtime.postgres import Database
from shared.views.operations import SCHEMA
from tests.integration.dead_letters.harness import Harness
from tests.proxy import Proxy

KEPT = "SELECT * FROM queue_depths WHERE queue ~ '^search[.][0-9]+$' AND counted_at > current_timestamp - interval '1 minute'"
LETTER_IS_DEAD = 'tidemark_dead_letters{projection="summary",state="dead"}'


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    for family in FAMILIES:
        family.forget()
    yield
    for family in FAMILIES:
        family.forget()


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


async def test_letters_jobs_and_verifications_are_those_of_the_database(harness: Harness) -> None:
    await harness.start()
    await harness.die("orders/o1", message="one cause")
    await harness.die("orders/o2", message="one cause")
    await harness.die("orders/o3", message="quite another cause")
    await harness.statuses(3, dead=3)
    database = Database(harness.settings.operations_db_url, schema=SCHEMA)
    read = OperationsFigures(database)
    await read.read()
    assert value("tidemark_dead_letters", projection="summary", state="dead") == 3
    assert value("tidemark_dead_letter_groups", projection="summary") == 2
    newest = await harness.db.fetchval(
        "SELECT extract(epoch FROM first_failed_at)::float8 FROM letters WHERE stream = 'orders/o3'"
    )
    assert value("tidemark_dead_letter_newest_group_timestamp_seconds", projection="summary") == pytest.approx(newest)
    assert value("tidemark_replay_jobs", state="running") == 0
    assert value("tidemark_verify_last_run_timestamp_seconds") is None
    insert = "INSERT INTO verifications (complete, differences, details, finished_at) VALUES ($1, $2, '{}', to_timestamp($3))"
    for row in ((True, 0, 1000.0), (False, 0, 2000.0), (True, 4, 3000.0)):
        await harness.db.execute(insert, *row)
    await harness.db.execute("UPDATE letters SET status = 'resolved' WHERE stream <> 'orders/o3'")
    await read.read()
    assert value("tidemark_dead_letters", projection="summary", state="dead") == 1
    assert value("tidemark_verify_last_success_timestamp_seconds") == 1000, "a part of all does not count"
    assert value("tidemark_verify_last_run_timestamp_seconds") == 3000
    assert value("tidemark_verify_differences") == 4
    await database.close()


async def test_queues_are_counted_the_lanes_of_a_projector_together(harness: Harness) -> None:
    publisher = Publisher(harness.settings.rabbitmq_url, "figures")
    connection = await aio_pika.connect(harness.settings.rabbitmq_url)
    channel = await connection.channel()
    consumer = Consumer(harness.settings.rabbitmq_url, [topology.lane_queue("search", 1)], prefetch=1, name="figures")
    consuming = asyncio.create_task(consumer.run())
    for lane, count in ((0, 1), (2, 3)):
        name = topology.lane_queue("search", lane)
        await (await channel.get_queue(name)).purge()
        for _ in range(count):
            await channel.default_exchange.publish(aio_pika.Message(b"x"), name)
    read = QueueFigures(publisher.connected, harness.settings.lanes)
    database = Database(harness.settings.operations_db_url, schema=SCHEMA)
    depths = QueueDepths(database, lambda: read.latest)
    await depths.keep()
    assert await harness.db.fetchval("SELECT count(*) FROM queue_depths") == 0, "nothing is known yet"
    await harness.db.execute("INSERT INTO queue_depths VALUES ('search.99', 1, 1, '2026-01-01')")

    async def consumed() -> bool:
        await read.read()
        return value("tidemark_queues_without_consumer", queue="search lanes") == harness.settings.lanes - 1

    try:
        await harness.until(consumed)
        assert value("tidemark_queue_messages", queue="search lanes") == 3, "the longest lane counts"
        assert value("tidemark_queues_without_consumer", queue="search.history") == 1
        assert value("tidemark_queues_without_consumer", queue="search.retry.1s") is None, (
            "nothing ever consumes from it"
        )
        assert value("tidemark_queues_missing") == 0
        await depths.keep()
        kept = {row["queue"]: (row["messages"], row["consumers"]) for row in await harness.db.fetch(KEPT)}
        assert kept == {"search.0": (1, 0), "search.1": (0, 1), "search.2": (3, 0), "search.3": (0, 0)}, (
            "each lane for itself, and none that is not there any more"
        )
        await channel.queue_delete("search.history")
        await read.read()
        assert value("tidemark_queues_missing") == 1
        assert value("tidemark_queue_messages", queue="summary lanes") is not None, "the others are still counted"
    finally:
        consuming.cancel()
        declared = topology.queue_named("search.history")
        assert declared is not None
        queue = await channel.declare_queue(declared.name, durable=True, arguments=declared.arguments)
        for exchange, key in declared.bindings:
            await queue.bind(exchange, key)
        for lane in (0, 2):
            await (await channel.get_queue(topology.lane_queue("search", lane))).purge()
        await connection.close()
        await publisher.close()
        await database.close()


async def test_while_a_server_is_unavailable_its_figures_are_unknown(harness: Harness) -> None:
    async with Proxy(harness.settings.operations_db_url).running() as proxy:
        database = Database(proxy.url, schema=SCHEMA)
        running = asyncio.create_task(Figures(OperationsFigures(database).read, *figures.FAMILIES, every_s=0.02).run())

        async def known() -> bool:
            return value("tidemark_dead_letters", projection="summary", state="dead") is not None

        async def unknown() -> bool:
            return not await known()

        await harness.until(known)
        proxy.down()
        await harness.until(unknown)
        proxy.up()
        await harness.until(known)
        running.cancel()
        await database.close()
    assert set(queue_figures.FAMILIES).isdisjoint(figures.FAMILIES)
