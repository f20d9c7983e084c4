"""Each queue is consumed from by itself, and watched: what befalls one is named, costs the others nothing, and heals by itself."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractConnection

from deploy.servers.provide import Servers
from shared.messaging import subscribing, topology
from shared.messaging.broker import Outgoing, Publisher
from shared.messaging.consuming import Consumer, Delivery
from shared.messaging.queue_watch import QueueWatch

QUORUM = {"x-queue-type": "quorum"}


class Bench:
    """Queues of this test's own."""

    def __init__(self, channel: AbstractChannel) -> None:
        self.channel = channel
        self.names = [f"tests.{uuid4().hex}" for _ in range(2)]

    async def declare(self, *names: str, **arguments: Any) -> None:
        for name in names:
            await self.channel.declare_queue(name, durable=True, arguments=QUORUM | arguments)

    async def send(self, *queues: str) -> None:
        for queue in queues:
            await self.channel.default_exchange.publish(aio_pika.Message(queue.encode()), queue)


@pytest.fixture
async def connection(servers: Servers) -> AsyncIterator[AbstractConnection]:
    async with await aio_pika.connect(servers.rabbitmq_url) as connection:
        yield connection


@pytest.fixture
async def bench(connection: AbstractConnection) -> AsyncIterator[Bench]:
    bench = Bench(await connection.channel())
    yield bench
    for name in bench.names:
        await (await connection.channel()).queue_delete(name)


@asynccontextmanager
async def running(task: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    async def run() -> None:
        await task()

    started = asyncio.create_task(run())
    try:
        yield
    finally:
        started.cancel()
        with suppress(asyncio.CancelledError):
            await started


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.05)


async def take(consumer: Consumer, queues: Collection[str]) -> list[Delivery]:
    """Deliveries as they come, until there is one of each of these queues; not acknowledged."""
    found: list[Delivery] = []
    async with asyncio.timeout(20):
        while {delivery.queue for delivery in found} < set(queues):
            found += await consumer.take(10, timeout=0.5)
    return found


async def test_a_queue_that_is_missing_is_named_the_other_flows_and_it_is_consumed_from_once_it_is_there(
    servers: Servers, bench: Bench
) -> None:
    there, late = bench.names
    await bench.declare(there)
    consumer = Consumer(servers.rabbitmq_url, [there, late], prefetch=10, name="tests")
    async with running(consumer.run):
        await bench.send(there)
        await consumer.acknowledge(await take(consumer, [there]))
        await until(lambda: consumer.trouble == f"queue {late} is missing: run `tidemark migrate`")
        await bench.declare(late)
        await bench.send(there, late)
        await consumer.acknowledge(await take(consumer, [there, late]))
        assert consumer.trouble is None


async def test_what_befalls_one_queue_leaves_the_deliveries_of_the_other_where_they_are(
    servers: Servers, bench: Bench
) -> None:
    """Deleted and made again; and, the other way to lose a consumer, its channel closed over a wrong acknowledgement."""
    hurt, spared = bench.names
    await bench.declare(hurt, spared)
    consumer = Consumer(servers.rabbitmq_url, [hurt, spared], prefetch=10, name="tests")
    async with running(consumer.run):
        await until(lambda: consumer.trouble is None)
        await bench.send(hurt, spared)
        taken = {delivery.queue: delivery for delivery in await take(consumer, bench.names)}
        await bench.channel.queue_delete(hurt)
        await until(lambda: consumer.trouble is not None and hurt in consumer.trouble)
        await bench.declare(hurt)
        await until(lambda: consumer.trouble is None)
        await bench.send(hurt, spared)
        again = {delivery.queue: delivery for delivery in await take(consumer, bench.names)}
        assert again[spared].channel is taken[spared].channel
        assert again[hurt].channel is not taken[hurt].channel
        await consumer.acknowledge([*taken.values(), *again.values()])

        await bench.send(hurt, spared)
        [left] = [delivery for delivery in await take(consumer, bench.names) if delivery.queue == hurt]
        await bench.send(spared)
        await left.channel.basic_ack(999_999)
        [redelivered, kept] = sorted(await take(consumer, bench.names), key=lambda each: each.queue != hurt)
        assert redelivered.redelivered
        assert kept.channel is taken[spared].channel
        await consumer.acknowledge([redelivered, kept])


@pytest.mark.parametrize("pause_s", [0, 0.2])
async def test_a_queue_that_is_deleted_and_soon_made_again_is_consumed_from_again(
    servers: Servers, bench: Bench, monkeypatch: pytest.MonkeyPatch, pause_s: float
) -> None:
    """RabbitMQ 3.10 says nothing of it to those who consumed from it."""
    monkeypatch.setattr(subscribing, "RENEW_AFTER_S", 3.0)
    queue = bench.names[0]
    await bench.declare(queue)
    consumer = Consumer(servers.rabbitmq_url, [queue], prefetch=10, name="tests")
    async with running(consumer.run):
        await until(lambda: consumer.trouble is None)
        await bench.send(queue)
        await consumer.acknowledge(await take(consumer, [queue]))
        await bench.channel.queue_delete(queue)
        await asyncio.sleep(pause_s)
        await bench.declare(queue)
        await bench.send(queue)
        await consumer.acknowledge(await take(consumer, [queue]))
        assert consumer.trouble is None


async def test_a_consumer_that_holds_something_is_not_replaced_however_long_nothing_comes(
    servers: Servers, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscribing, "RENEW_AFTER_S", 0.3)
    queue = bench.names[0]
    await bench.declare(queue)
    consumer = Consumer(servers.rabbitmq_url, [queue], prefetch=10, name="tests")
    async with running(consumer.run):
        await bench.send(queue)
        [held] = await take(consumer, [queue])
        assert await consumer.take(10, timeout=2) == []
        await consumer.acknowledge([held])
        await until(lambda: held.channel.is_closed)
        await bench.send(queue)
        [other] = await take(consumer, [queue])
        assert not other.redelivered
        assert consumer.trouble is None


async def test_a_queue_that_falls_silent_is_known_and_one_that_never_spoke_is_not_called_silent(
    servers: Servers, bench: Bench
) -> None:
    spoke, silent = bench.names
    await bench.declare(spoke, silent)
    consumer = Consumer(servers.rabbitmq_url, [spoke, silent], prefetch=10, name="tests")
    async with running(consumer.run):
        await bench.send(spoke)
        await consumer.acknowledge(await take(consumer, [spoke]))
        await until(lambda: consumer.silent_s(spoke) > 0.2)
        assert consumer.silent_s(silent) == 0
        await bench.send(spoke)
        await consumer.acknowledge(await take(consumer, [spoke]))
        assert consumer.silent_s(spoke) < 0.2
        await bench.channel.queue_delete(spoke)
        await until(lambda: consumer.trouble is not None)
        await bench.declare(spoke)
        await until(lambda: consumer.trouble is None)
        assert consumer.silent_s(spoke) == 0


async def test_a_queue_that_was_made_otherwise_is_named_with_the_argument_that_differs(
    bench: Bench, connection: AbstractConnection, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, wrong = bench.names
    arguments = QUORUM | {"x-delivery-limit": 20}
    monkeypatch.setattr(topology, "queue_named", lambda name: topology.Queue(name, arguments, ()))
    await bench.declare(right, **{"x-delivery-limit": 20})
    await bench.declare(wrong)

    # Of its own: it may die of being called off in the middle of a look.
    watched = await aio_pika.connect(servers.rabbitmq_url)

    async def connected() -> AbstractConnection:
        return watched

    missing = f"tests.{uuid4().hex}"
    watch = QueueWatch(connected, [wrong, right, missing], every_s=0.1)
    async with running(watch.run):
        await until(lambda: missing in (watch.trouble or ""))
        assert watch.trouble == (
            f"queue {wrong} has another x-delivery-limit than it should: run `tidemark migrate` while nothing consumes from it; "
            f"queue {missing} is missing: run `tidemark migrate`"
        )
        await bench.channel.queue_delete(wrong)
        await bench.declare(wrong, **{"x-delivery-limit": 20})
        await until(lambda: watch.trouble == f"queue {missing} is missing: run `tidemark migrate`")
    await watched.close()
    with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):  # looking has not made it
        await (await connection.channel()).declare_queue(missing, passive=True)


async def test_a_full_queue_is_named_by_whoever_waits_for_it(servers: Servers, bench: Bench) -> None:
    full, other = bench.names
    await bench.channel.declare_queue(full, durable=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    await bench.declare(other)
    publisher = Publisher(servers.rabbitmq_url, "tests")
    messages = [Outgoing("", queue, b"{}", "application/json") for queue in (full, full, other)]
    publishing = asyncio.create_task(publisher.publish_all(messages, sleep=asyncio.sleep))
    try:
        await until(lambda: publisher.trouble)
        assert f"refused by queue {full}: is a queue full?" in (publisher.trouble or "")
        assert not publishing.done()
        await (await bench.channel.get_queue(full, ensure=False)).purge()
        async with asyncio.timeout(20):
            await publishing
        assert publisher.trouble is None
    finally:
        publishing.cancel()
        await publisher.close()
