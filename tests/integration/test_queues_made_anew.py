"""A queue with other arguments than it should have is made anew by migrating, and keeps its messages, whenever that was interrupted."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity

from deploy.run.topology import TEMPORARY_QUEUE_ARGUMENTS, QueueInUseError, declare
from shared.messaging import topology
from shared.runtime.settings import Settings

LANES = 4
COMMANDS = topology.COMMAND_QUEUE
SPARE_NAME = f"{COMMANDS}.moving"
WANTED = {queue.name: queue.arguments for queue in topology.declarations(LANES).queues}
BEFORE = {name: value for name, value in WANTED[COMMANDS].items() if name != "x-single-active-consumer"}
"""The arguments that the queue had before it had a single active consumer."""


@pytest.fixture
async def connection(migrated: Settings) -> AsyncIterator[AbstractConnection]:
    async with await aio_pika.connect(migrated.rabbitmq_url) as connection:
        yield connection
    await declare(migrated.rabbitmq_url, LANES)
    async with await aio_pika.connect(migrated.rabbitmq_url) as connection:
        await (await (await connection.channel()).get_queue(COMMANDS, ensure=False)).purge()


@pytest.fixture
async def channel(connection: AbstractConnection) -> AbstractChannel:
    """On a broker whose command queue is as an older version declared it, and empty."""
    channel = await connection.channel()
    await channel.queue_delete(COMMANDS)
    queue = await channel.declare_queue(COMMANDS, durable=True, arguments=BEFORE)
    await queue.bind(topology.COMMANDS, "#")
    return channel


async def fill(channel: AbstractChannel, numbers: Sequence[int], queue: str | None = None) -> None:
    """Numbered messages, by way of the exchange, or straight into one queue."""
    exchange = channel.default_exchange if queue else await channel.get_exchange(topology.COMMANDS, ensure=False)
    await asyncio.gather(
        *(
            exchange.publish(
                aio_pika.Message(str(number).encode(), correlation_id=f"c-{number}", reply_to="r", headers={"h": 1}),
                queue or f"orders.type-{number}",
            )
            for number in numbers
        )
    )


MOST_DELIVERED = 1900
"""A quorum queue delivers 2,000 messages to a consumer that acknowledges none."""


async def content(connection: AbstractConnection) -> list[aio_pika.abc.AbstractIncomingMessage]:
    """What the command queue holds, as it is; it is there with the arguments that it should have, and no other queue holds anything."""
    channel = await connection.channel()
    queue = await channel.declare_queue(COMMANDS, durable=True, arguments=WANTED[COMMANDS])
    count = queue.declaration_result.message_count or 0
    found: asyncio.Queue[aio_pika.abc.AbstractIncomingMessage] = asyncio.Queue()
    tag = await queue.consume(found.put)
    async with asyncio.timeout(20):
        messages = [await found.get() for _ in range(count)]
    await queue.cancel(tag)
    await channel.close()
    with pytest.raises(ChannelNotFoundEntity):
        await (await connection.channel()).declare_queue(SPARE_NAME, passive=True)
    return messages


def numbers(messages: Sequence[aio_pika.abc.AbstractIncomingMessage]) -> list[int]:
    return [int(message.body) for message in messages]


async def test_a_queue_declared_otherwise_is_made_anew_with_its_messages_in_order(
    migrated: Settings, connection: AbstractConnection, channel: AbstractChannel
) -> None:
    await fill(channel, range(1000))
    done = await declare(migrated.rabbitmq_url, LANES)
    assert done[0] == "queue commands recreated with the declared arguments: 1000 messages kept"
    messages = await content(connection)
    assert numbers(messages) == list(range(1000))
    kept = messages[7]
    assert (kept.routing_key, kept.correlation_id, kept.reply_to, kept.headers["h"]) == ("orders.type-7", "c-7", "r", 1)
    assert len(await declare(migrated.rabbitmq_url, LANES)) == 1


async def test_a_queue_in_use_is_left_alone_and_named_with_what_to_do(
    migrated: Settings, connection: AbstractConnection, channel: AbstractChannel
) -> None:
    await fill(channel, range(10))
    queue = await channel.get_queue(COMMANDS, ensure=False)
    delivered: asyncio.Queue[aio_pika.abc.AbstractIncomingMessage] = asyncio.Queue()
    tag = await queue.consume(delivered.put)
    with pytest.raises(
        QueueInUseError, match=r"queue commands .*x-single-active-consumer.* run tidemark migrate again"
    ):
        await declare(migrated.rabbitmq_url, LANES)
    await queue.cancel(tag)
    await channel.close()  # what it was delivered goes back
    await declare(migrated.rabbitmq_url, LANES)
    assert numbers(await content(connection)) == list(range(10))


async def test_making_it_anew_goes_on_where_it_was_interrupted_before_the_old_queue_was_deleted(
    migrated: Settings, connection: AbstractConnection, channel: AbstractChannel
) -> None:
    await channel.declare_queue(SPARE_NAME, durable=True, arguments=TEMPORARY_QUEUE_ARGUMENTS)
    await fill(channel, range(5), SPARE_NAME)
    await fill(channel, range(5, 10), COMMANDS)
    await declare(migrated.rabbitmq_url, LANES)
    assert numbers(await content(connection)) == list(range(10))


async def test_making_it_anew_goes_on_where_it_was_interrupted_after_the_old_queue_was_deleted(
    migrated: Settings, connection: AbstractConnection, channel: AbstractChannel
) -> None:
    spare = await channel.declare_queue(SPARE_NAME, durable=True, arguments=TEMPORARY_QUEUE_ARGUMENTS)
    await spare.bind(topology.COMMANDS, "#")
    await channel.queue_delete(COMMANDS)
    await fill(channel, range(10))
    await declare(migrated.rabbitmq_url, LANES)
    assert numbers(await content(connection)) == list(range(10))


async def test_what_is_sent_while_a_queue_is_made_anew_is_never_without_a_queue(
    migrated: Settings, connection: AbstractConnection, channel: AbstractChannel
) -> None:
    """Publishing is mandatory: a message without a queue would come back, and fail the test."""
    await fill(channel, range(200))
    making = asyncio.create_task(declare(migrated.rabbitmq_url, LANES))
    sent = 200
    while not making.done() and sent < MOST_DELIVERED:
        await fill(channel, [sent])
        sent += 1
    await making
    found = numbers(await content(connection))
    assert sorted(set(found)) == list(range(sent))
    assert [number for number in found if number < 200] == list(range(200))
