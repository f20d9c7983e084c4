"""Exchanges, queues and bindings on the broker come to what ``shared/messaging/topology.py`` says, and no message is lost on the way.

RabbitMQ cannot change a queue's arguments. A queue that has others than it should is therefore made anew under its name:

    queue, otherwise declared ──move──▶ <queue>.moving (takes its bindings) ──▶ queue deleted, declared ──move──▶ queue, as it should be

Every message is confirmed in its new place before it is acknowledged in the old one, so a crash at any point leaves each in at
least one place, and the next run goes on from there. Routing keys and properties stay. Messages keep their order, but for those
that arrive in the moment in which bindings move. A queue with consumers is left alone: what they hold would be lost with it.
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
from shared.messaging.broker import CONNECT_DEADLINE_S, BrokerError, deadline
from shared.messaging.queue_watch import MissingQueueError, consumers_of
from shared.messaging.topology import Queue

DECLARE_DEADLINE_S: Final = 60.0
MOVE_DEADLINE_S: Final = 600.0
IN_FLIGHT: Final = 200
QUIET_S: Final = 0.5
"""A queue that has delivered nothing for so long, and counts no message, is empty."""
SPARE: Final[dict[str, Any]] = {"x-queue-type": "quorum"}


class QueueInUseError(BrokerError):
    """A queue has other arguments than it should, and cannot be made anew while something consumes from it."""


async def declare(url: str, lanes: int) -> list[str]:
    """Bring the broker to the topology for this number of lanes; returns what was done, a line each. Safe to run again.

    Raises QueueInUseError, and BrokerError where the broker fails.
    """
    wanted = topology.declarations(lanes)
    remade = []
    async with _connected(url) as connection:
        async with deadline(DECLARE_DEADLINE_S), _channel(connection) as channel:
            for name in wanted.exchanges:
                await channel.declare_exchange(name, aio_pika.ExchangeType.TOPIC, durable=True)
        for queue in wanted.queues:
            async with deadline(MOVE_DEADLINE_S):
                kept = await _put_right(connection, queue)
            if kept is not None:
                remade.append(f"queue {queue.name} made anew, with the arguments it should have: {kept} messages kept")
    return [*remade, f"{len(wanted.exchanges) + len(wanted.queues)} exchanges and queues in place"]


async def _put_right(connection: AbstractConnection, queue: Queue) -> int | None:
    """Declare and bind a queue, and make it anew where it is otherwise: how many messages were moved then, else None."""
    spare = Queue(f"{queue.name}.moving", SPARE, queue.bindings)
    different = await _difference(connection, queue)
    if different is None and await _consumers(connection, spare.name) is None:
        return None
    moved = 0
    if different is not None:
        await _refuse_consumers(connection, queue.name, f"has other arguments than it should ({different})")
        async with _channel(connection) as channel:
            await channel.declare_queue(spare.name, durable=True, arguments=spare.arguments)
        moved = await _replace(connection, queue, by=spare)
        async with _channel(connection) as channel:
            await channel.declare_queue(queue.name, durable=True, arguments=queue.arguments)
    return max(moved, await _replace(connection, spare, by=queue))


async def _difference(connection: AbstractConnection, queue: Queue) -> str | None:
    """Declare and bind the queue; where one is there that has other arguments, what the broker says of it."""
    async with _channel(connection) as channel:
        try:
            declared = await channel.declare_queue(queue.name, durable=True, arguments=queue.arguments)
        except ChannelPreconditionFailed as error:
            return str(error).removeprefix("PRECONDITION_FAILED - ").partition(" for queue ")[0]
        for exchange, key in queue.bindings:
            await declared.bind(exchange, key)
    return None


async def _refuse_consumers(connection: AbstractConnection, name: str, why: str) -> None:
    if consumers := await _consumers(connection, name):
        raise QueueInUseError(
            f"queue {name} {why}, and has {consumers} consumers:"
            " stop the processes that consume from it (with make up: stop and start it), then run tidemark migrate again"
        )


async def _consumers(connection: AbstractConnection, name: str) -> int | None:
    """How many consumers the queue has; None: there is no such queue."""
    try:
        return await consumers_of(connection, name)
    except MissingQueueError:
        return None


async def _replace(connection: AbstractConnection, old: Queue, *, by: Queue) -> int:
    """Move messages and bindings from ``old`` to ``by``, which both are there, and delete ``old``; returns how many were moved.

    Messages first, then the bindings, then what came in between: nearly all keep their order, and none is ever without a queue.
    """
    async with _channel(connection) as channel:
        # An exchange of its own, to one queue alone, lets each message keep its routing key.
        through = await channel.declare_exchange(f"{old.name}.moved", aio_pika.ExchangeType.FANOUT, durable=True)
        source = await channel.get_queue(old.name, ensure=False)
        target = await channel.get_queue(by.name, ensure=False)
        await target.bind(through)
        moved = await _move(connection, old.name, through, still_filling=True)
        for exchange, key in old.bindings:
            await target.bind(exchange, key)
        for exchange, key in old.bindings:
            await source.unbind(exchange, key)
        moved += await _move(connection, old.name, through)
        await _refuse_consumers(connection, old.name, "is to be deleted")  # one that has come meanwhile holds messages
        await through.delete(if_unused=False)
        await source.delete(if_unused=False, if_empty=False)
    return moved


async def _move(
    connection: AbstractConnection, name: str, through: AbstractExchange, *, still_filling: bool = False
) -> int:
    """Publish every message of the queue again, in order; each is acknowledged when its new place is confirmed.

    ``still_filling``: return as soon as the queue looks empty, for it may never be for long; else when it is known to be.
    """
    arrived: deque[AbstractIncomingMessage] = deque()
    came = asyncio.Event()

    async def take(message: AbstractIncomingMessage) -> None:
        arrived.append(message)
        came.set()

    moved = 0
    async with _channel(connection) as channel:
        await channel.set_qos(IN_FLIGHT)
        queue = await channel.get_queue(name, ensure=False)
        tag = await queue.consume(take)
        while True:
            came.clear()
            messages = list(arrived)
            arrived.clear()
            if messages:
                await asyncio.gather(*(through.publish(_again(one), one.routing_key or "") for one in messages))
                await messages[-1].ack(multiple=True)
                moved += len(messages)
            elif not (await channel.declare_queue(name, passive=True)).declaration_result.message_count:
                with suppress(TimeoutError):  # one may have left the queue and still be on its way
                    async with asyncio.timeout(0 if still_filling else QUIET_S):
                        await came.wait()
                if not arrived:
                    await queue.cancel(tag)
                    return moved


def _again(message: AbstractIncomingMessage) -> aio_pika.Message:
    """The same message. Its id is new, for confirms are matched by it; how often it was delivered starts at nothing."""
    headers = {name: value for name, value in message.headers.items() if name != "x-delivery-count"}
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
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[AbstractConnection]:
    async with deadline(CONNECT_DEADLINE_S):
        connection = await aio_pika.connect(url, timeout=CONNECT_DEADLINE_S)
    try:
        yield connection
    finally:
        with suppress(BrokerError):
            async with deadline(CONNECT_DEADLINE_S):
                await connection.close()


@asynccontextmanager
async def _channel(connection: AbstractConnection) -> AsyncIterator[AbstractChannel]:
    """A channel for one errand: an error that the broker answers with closes it, and no other."""
    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
    try:
        yield channel
    finally:
        if not channel.is_closed:
            await channel.close()
