"""Declares the exchanges, queues and bindings of ``shared/messaging/topology.py`` on the broker, without losing a message.

RabbitMQ cannot change a queue's arguments. A queue with other arguments is therefore recreated under its name:

    queue, other arguments ──move──▶ <queue>.moving (takes its bindings) ──▶ queue deleted, declared ──move──▶ queue, declared arguments

Every message is confirmed in the new queue before it is acknowledged in the old one, so a crash at any point leaves each in at
least one queue, and the next run continues from there. Routing keys and properties are kept. Messages keep their order, except
those that arrive while the bindings are moved. A queue with consumers is not recreated: their unacknowledged messages would be
deleted with it.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final
from uuid import uuid4

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, AbstractIncomingMessage
from aio_pika.exceptions import ChannelPreconditionFailed

from shared.messaging import topology
from shared.messaging.access import moving_exchange, moving_queue, sent_by
from shared.messaging.broker import CONNECT_DEADLINE_S, BrokerError, connect, deadline, user_in
from shared.messaging.queue_watch import MissingQueueError, consumers_of
from shared.messaging.topology import Queue

DECLARE_DEADLINE_S: Final = 60.0
MOVE_DEADLINE_S: Final = 600.0
PREFETCH: Final = 200
IDLE_S: Final = 0.5
"""Seconds: a queue that reports no ready message and has delivered nothing for so long is empty."""
TEMPORARY_QUEUE_ARGUMENTS: Final[dict[str, Any]] = {"x-queue-type": "quorum"}


class QueueInUseError(BrokerError):
    """A queue has other arguments than declared, and cannot be recreated while it has consumers."""


async def declare(url: str, lanes: int) -> list[str]:
    """Declare the topology for this number of lanes; returns one line for each change. Safe to run again.

    Raises QueueInUseError, and BrokerError when the broker fails.
    """
    wanted = topology.declarations(lanes)
    recreated = []
    async with _connected(url) as connection:
        async with deadline(DECLARE_DEADLINE_S), _channel(connection) as channel:
            for name in wanted.exchanges:
                await channel.declare_exchange(name, aio_pika.ExchangeType.TOPIC, durable=True)
        for queue in wanted.queues:
            async with deadline(MOVE_DEADLINE_S):
                kept = await _reconcile_queue(connection, queue)
            if kept is not None:
                recreated.append(f"queue {queue.name} recreated with the declared arguments: {kept} messages kept")
    return [*recreated, f"{len(wanted.exchanges) + len(wanted.queues)} exchanges and queues in place"]


async def _reconcile_queue(connection: AbstractConnection, queue: Queue) -> int | None:
    """Declare and bind the queue; recreate it if its arguments differ. Returns how many messages were moved then, else None."""
    temporary = Queue(moving_queue(queue.name), TEMPORARY_QUEUE_ARGUMENTS, queue.bindings)
    different = await _difference(connection, queue)
    if different is None and await _consumer_count(connection, temporary.name) is None:
        return None
    moved = 0
    if different is not None:
        await _refuse_consumers(connection, queue.name, f"has other arguments than it should ({different})")
        async with _channel(connection) as channel:
            await channel.declare_queue(temporary.name, durable=True, arguments=temporary.arguments)
        moved = await _replace(connection, queue, by=temporary)
        async with _channel(connection) as channel:
            await channel.declare_queue(queue.name, durable=True, arguments=queue.arguments)
    return max(moved, await _replace(connection, temporary, by=queue))


async def _difference(connection: AbstractConnection, queue: Queue) -> str | None:
    """Declare and bind the queue; if it exists with other arguments, returns the broker's description of the difference."""
    async with _channel(connection) as channel:
        try:
            declared = await channel.declare_queue(queue.name, durable=True, arguments=queue.arguments)
        except ChannelPreconditionFailed as error:
            return str(error).removeprefix("PRECONDITION_FAILED - ").partition(" for queue ")[0]
        for exchange, key in queue.bindings:
            await declared.bind(exchange, key)
    return None


async def _refuse_consumers(connection: AbstractConnection, name: str, why: str) -> None:
    if consumers := await _consumer_count(connection, name):
        raise QueueInUseError(
            f"queue {name} {why}, and has {consumers} consumers:"
            " stop the processes that consume from it (with make up: stop and start it), then run tidemark migrate again"
        )


async def _consumer_count(connection: AbstractConnection, name: str) -> int | None:
    """How many consumers the queue has; None if it does not exist."""
    try:
        return await consumers_of(connection, name)
    except MissingQueueError:
        return None


async def _replace(connection: AbstractConnection, old: Queue, *, by: Queue) -> int:
    """Move messages and bindings from ``old`` to ``by``, which both exist, and delete ``old``; returns how many messages were moved.

    Messages first, then the bindings, then messages that arrived in between: nearly all keep their order, and a bound queue always exists.
    """
    async with _channel(connection) as channel:
        # A temporary fanout exchange, bound to the new queue alone, preserves each message's routing key.
        exchange = await channel.declare_exchange(moving_exchange(old.name), aio_pika.ExchangeType.FANOUT, durable=True)
        source = await channel.get_queue(old.name, ensure=False)
        target = await channel.get_queue(by.name, ensure=False)
        await target.bind(exchange)
        moved = await _move(connection, old.name, exchange, still_filling=True)
        for bound_exchange, key in old.bindings:
            await target.bind(bound_exchange, key)
        for bound_exchange, key in old.bindings:
            await source.unbind(bound_exchange, key)
        moved += await _move(connection, old.name, exchange)
        await _refuse_consumers(connection, old.name, "is to be deleted")  # a new consumer would hold messages
        await exchange.delete(if_unused=False)
        await source.delete(if_unused=False, if_empty=False)
    return moved


async def _move(
    connection: AbstractConnection, name: str, exchange: AbstractExchange, *, still_filling: bool = False
) -> int:
    """Publish every message of the queue to ``exchange``, in order; each is acknowledged once its copy is confirmed.

    ``still_filling``: return at the first moment without a ready message, because publishers may keep filling the queue; otherwise
    return after IDLE_S without one.
    """
    received: deque[AbstractIncomingMessage] = deque()
    arrived = asyncio.Event()

    async def on_message(message: AbstractIncomingMessage) -> None:
        received.append(message)
        arrived.set()

    moved, user = 0, _user_of(connection)
    async with _channel(connection) as channel:
        await channel.set_qos(PREFETCH)
        queue = await channel.get_queue(name, ensure=False)
        tag = await queue.consume(on_message)
        while True:
            arrived.clear()
            messages = list(received)
            received.clear()
            if messages:
                await asyncio.gather(*(exchange.publish(_copy(one, user), one.routing_key or "") for one in messages))
                await messages[-1].ack(multiple=True)
                moved += len(messages)
            elif not (await channel.declare_queue(name, passive=True)).declaration_result.message_count:
                with suppress(TimeoutError):  # a message may have been delivered by the broker and not yet received
                    async with asyncio.timeout(0 if still_filling else IDLE_S):
                        await arrived.wait()
                if not received:
                    await queue.cancel(tag)
                    return moved


def _user_of(connection: AbstractConnection) -> str:
    url: Any = getattr(connection, "url")  # noqa: B009 - every implementation has it, the abstract class does not
    return user_in(str(url))


def _copy(message: AbstractIncomingMessage, user: str) -> aio_pika.Message:
    """The same message with a new message id, because confirms are matched by it, and without its delivery count."""
    headers = {name: value for name, value in message.headers.items() if name != "x-delivery-count"}
    # The broker lets nobody publish in another's name; the worker takes the sender from the administrator's word.
    headers[topology.SENDER_HEADER] = sent_by(message.user_id or "", message.headers)
    return aio_pika.Message(
        message.body,
        headers=headers,
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        type=message.type,
        correlation_id=message.correlation_id,
        reply_to=message.reply_to,
        timestamp=message.timestamp,
        app_id=message.app_id,
        message_id=uuid4().hex,
        user_id=user,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[AbstractConnection]:
    async with deadline(CONNECT_DEADLINE_S):
        connection = await connect(url)
    try:
        yield connection
    finally:
        with suppress(BrokerError):
            async with deadline(CONNECT_DEADLINE_S):
                await connection.close()


@asynccontextmanager
async def _channel(connection: AbstractConnection) -> AsyncIterator[AbstractChannel]:
    """A channel for one operation: a channel error closes this channel and no other."""
    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
    try:
        yield channel
    finally:
        if not channel.is_closed:
            await channel.close()
