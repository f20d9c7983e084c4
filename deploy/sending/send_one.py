"""Sends one command and waits for its outcome."""

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import msgspec

from shared.messages.envelope import CONTENT_TYPE, CommandEnvelope
from shared.messaging import topology
from shared.messaging.broker import Outgoing, Publisher
from shared.messaging.replies import Replies
from shared.observability import tracing
from shared.observability.sending import first_command_span
from shared.runtime.settings import Settings

SOURCE = "tidemark/cli"


async def send_one(
    settings: Settings,
    command_type: str,
    data: Any,
    attributes: Mapping[str, Any],
    timeout: float,  # noqa: ASYNC109
) -> dict[str, Any]:
    """The outcome's envelope. Raises ValidationError for an invalid envelope, TimeoutError, BrokerError, ExtraMissingError."""
    given = {name: value for name, value in attributes.items() if value is not None}
    envelope = CommandEnvelope.model_validate(
        {"id": str(uuid4()), "source": SOURCE, "type": command_type, "data": data} | given
    )
    tracing.begin("cli", on=settings.traces == "on", ratio=settings.traces_ratio)
    reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def received(body: bytes, _: str) -> None:
        if not reply.done():
            reply.set_result(body)

    url = settings.require("rabbitmq_url")
    publisher, replies = Publisher(url, "tidemark send"), Replies(url, received, "tidemark send")
    receiving = asyncio.create_task(replies.run())
    try:
        async with asyncio.timeout(timeout):
            await replies.ready()
            with first_command_span(envelope.id, command_type) as traceparent:
                await publisher.publish(_message(envelope, traceparent, replies.queue))
            outcome: dict[str, Any] = msgspec.json.decode(await reply)
            return outcome
    except TimeoutError as error:
        raise replies.error or error from error
    finally:
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
        await publisher.close()
        await asyncio.to_thread(tracing.end)


def _message(envelope: CommandEnvelope, traceparent: str | None, reply_to: str) -> Outgoing:
    traced = envelope.model_copy(update={"traceparent": traceparent})
    return Outgoing(
        topology.COMMANDS,
        envelope.type,
        traced.model_dump_json(exclude_none=True).encode(),
        CONTENT_TYPE,
        type=envelope.type,
        correlation_id=envelope.id,
        reply_to=reply_to,
    )
