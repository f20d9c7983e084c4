"""A microservice on the bus, for tests: it sends commands, sound or not, and gets the answers at a reply queue of its own."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import aio_pika
import aiormq
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from deploy.servers.rabbitmq import HEARTBEAT
from shared.messages.envelope import CONTENT_TYPE
from shared.messaging import topology

PATIENCE_S = 15.0


def envelope(type_: str, data: Any, *, id_: str | None = None, **attributes: Any) -> dict[str, Any]:
    """A command; ``attributes`` are further ones of its envelope, such as ``subject``."""
    return {"specversion": "1.0", "id": id_ or uuid4().hex, "source": "tests", "type": type_, "data": data} | attributes


def encode(value: Any) -> bytes:
    return json.dumps(value).encode()


class Bus:
    def __init__(self, channel: AbstractChannel, replies: AbstractQueue) -> None:
        self._channel = channel
        self._replies = replies
        self._waiting: dict[str, asyncio.Future[AbstractIncomingMessage]] = {}

    async def send(
        self,
        body: bytes,
        *,
        exchange: str = topology.COMMANDS,
        routing_key: str = "orders.place-order",
        reply_to: str | None = None,
        **properties: Any,
    ) -> None:
        """Hand a message to the exchange and return when the broker has it."""
        message = aio_pika.Message(
            body, reply_to=reply_to, delivery_mode=2, **({"content_type": CONTENT_TYPE} | properties)
        )
        await (await self._channel.get_exchange(exchange, ensure=False)).publish(message, routing_key)

    async def ask(self, body: bytes, **properties: Any) -> bytes:
        """The answer to a message, as it came."""
        key = uuid4().hex
        answer: asyncio.Future[AbstractIncomingMessage] = asyncio.get_running_loop().create_future()
        self._waiting[key] = answer
        try:
            await self.send(body, reply_to=self._replies.name, correlation_id=key, **properties)
            async with asyncio.timeout(PATIENCE_S):
                return (await answer).body
        finally:
            del self._waiting[key]

    async def command(self, type_: str, data: Any, *, id_: str | None = None, **attributes: Any) -> dict[str, Any]:
        """The outcome of a command: its type, with the members of its data beside it."""
        answer = await self.ask(encode(envelope(type_, data, id_=id_, **attributes)), routing_key=type_)
        return outcome(json.loads(answer))

    async def accepted(self, type_: str, data: Any, **attributes: Any) -> dict[str, Any]:
        found = await self.command(type_, data, **attributes)
        assert found["type"] == "command.accepted", found
        return found

    async def put(
        self, queue: str, body: bytes, headers: Mapping[str, Any] | None = None, *, user_id: str | None = None
    ) -> None:
        """Straight into a queue, past every exchange. ``user_id``: our own user, for headers that only some may give."""
        message = aio_pika.Message(body, headers=dict(headers or {}), user_id=user_id)
        await self._channel.default_exchange.publish(message, queue)

    async def depth(self, queue: str) -> int:
        declared = await self._channel.declare_queue(queue, passive=True)
        return declared.declaration_result.message_count or 0

    async def listen(self, exchange: str, key: str) -> AbstractQueue:
        """A queue of our own with what is published there from now on."""
        queue = await self._channel.declare_queue(exclusive=True)
        await queue.bind(exchange, key)
        return queue

    async def own_queue(self, name: str = "") -> AbstractQueue:
        """A queue of this name that is ours alone, and goes with us; without one the broker names it."""
        return await self._channel.declare_queue(name or None, exclusive=True)

    async def ask_directly(self, body: bytes, **properties: Any) -> bytes:
        """The answer by RabbitMQ's direct reply-to: no queue is declared for it."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def take(message: aiormq.abc.DeliveredMessage) -> None:
            answer.set_result(message.body)

        channel = await self._channel.get_underlay_channel()
        await channel.basic_consume("amq.rabbitmq.reply-to", take, no_ack=True)
        await self.send(body, reply_to="amq.rabbitmq.reply-to", **properties)
        async with asyncio.timeout(PATIENCE_S):
            return await answer

    async def take_replies(self) -> None:
        async def take(message: AbstractIncomingMessage) -> None:
            waiting = self._waiting.get(message.correlation_id or "")
            if waiting is not None and not waiting.done():
                waiting.set_result(message)

        await self._replies.consume(take, no_ack=True)


def outcome(answer: dict[str, Any]) -> dict[str, Any]:
    return {"type": answer["type"], **answer["data"]}


@asynccontextmanager
async def bus_of(url: str) -> AsyncIterator[Bus]:
    # Starting other systems blocks the event loop for longer than the services' heartbeat allows.
    connection = await aio_pika.connect(url.replace(f"heartbeat={HEARTBEAT}", "heartbeat=600"), timeout=10)
    async with connection:
        channel = await connection.channel(on_return_raises=True)
        replies = await channel.declare_queue(exclusive=True)
        await replies.bind(topology.REPLIES, replies.name)
        bus = Bus(channel, replies)
        await bus.take_replies()
        yield bus
