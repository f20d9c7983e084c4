"""A payment provider as a service of its own, as another team would run one: it knows Tidemark's messages and nothing else.

    [events] lane.* ──▶ queue payment-provider ──payment-requested──▶ PaymentProvider ──batches──▶ [commands] capture | fail

Every requested payment is answered, with the effect of once: a delivery is acknowledged after its answers are confirmed, and an answer's id
is that of its event, so that a repetition gets the outcome of the first. The wait for an answer is not the provider's: its command is
scheduled (``notbefore``), and survives everything that Tidemark survives. An event that cannot be read is skipped, and logged.
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
from pydantic import ValidationError

from deploy.demo.payments.provider import PaymentProvider
from deploy.sending.batches import CommandMessage, batches
from shared.contracts.payments import PaymentRequested
from shared.contracts.registry import EVENTS, UnknownEventError, event_data
from shared.messages.envelope import CommandEnvelope, EnvelopeError, ReceivedEvent, split
from shared.messaging import topology
from shared.messaging.broker import CONNECT_DEADLINE_S, Outgoing, Publisher, deadline
from shared.messaging.consuming import Consumer
from shared.runtime.process import Process, pause
from shared.runtime.reasons import reason
from shared.runtime.settings import Settings

log: Final = logging.getLogger(__name__)

NAME: Final = "payment_provider"
SOURCE: Final = "payment-provider"
QUEUE: Final = "payment-provider"
REQUESTED: Final = EVENTS[PaymentRequested][0]
PREFETCH: Final = 50
"""Messages of up to 100 events, most of which are of other kinds."""


async def run(settings: Settings, provider: PaymentProvider) -> int:
    """Answer until stopped; returns the exit code."""
    url = settings.require("rabbitmq_url")
    process = Process(NAME, runtime_dir=settings.runtime_dir)
    publisher, consumer = Publisher(url, NAME), Consumer(url, [QUEUE], prefetch=PREFETCH, name=NAME)
    service = Service(provider, publisher, consumer)
    try:
        return await process.run(
            {"answers": lambda: service.run(process.stopping)},
            background={"consumer": consumer.run},
            probes={"consumer": lambda: consumer.trouble, "publisher": lambda: publisher.trouble},
        )
    finally:
        await publisher.close()


class Service:
    def __init__(self, provider: PaymentProvider, publisher: Publisher, consumer: Consumer) -> None:
        self._provider = provider
        self._publisher = publisher
        self._consumer = consumer

    async def run(self, stopping: asyncio.Event) -> None:
        await self._declare()
        while not stopping.is_set():
            if deliveries := await self._consumer.take(PREFETCH, timeout=1.0):
                answers = [each for delivery in deliveries for each in self.answers(delivery.body)]
                await self._publisher.publish_all(messages(answers), sleep=lambda seconds: pause(stopping, seconds))
                await self._consumer.acknowledge(deliveries)

    def answers(self, body: bytes) -> Iterator[CommandMessage]:
        """The commands that answer the payments that are requested in a message."""
        for event in _events(body):
            try:
                data = event_data(event.type, event.schemaversion, event.data)
            except (UnknownEventError, msgspec.ValidationError) as error:
                log.warning("%s cannot be read: %s", event.id, reason(error))
                continue
            if isinstance(data, PaymentRequested):
                yield self._answer(data)

    def _answer(self, payment: PaymentRequested) -> CommandMessage:
        answer = self._provider.answer(payment)
        verb, fields = ("capture", {}) if answer.failure is None else ("fail", {"reason": answer.failure})
        command = CommandEnvelope(
            id=f"answer:{payment.payment_id}",
            source=SOURCE,
            type=f"payments.{verb}-payment",
            subject=payment.payment_id,
            data=fields,
            notbefore=payment.requested_at + answer.after,
        )
        return CommandMessage(command.id, command.type, command.model_dump_json(exclude_none=True).encode())

    async def _declare(self) -> None:
        """The provider's queue is its own affair: it sees the events from then on."""
        connection = await self._publisher.connected()
        async with deadline(CONNECT_DEADLINE_S):
            channel = await connection.channel()
            queue = await channel.declare_queue(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
            await queue.bind(topology.EVENTS, "lane.*")
            await channel.close()


def messages(answers: Iterable[CommandMessage]) -> list[Outgoing]:
    """Answers of one type together, up to a hundred: each is about a payment of its own, so their order does not matter."""
    return [
        Outgoing(topology.COMMANDS, batch.type, batch.body, batch.content_type, type=batch.type)
        for batch in batches(sorted(answers, key=lambda each: each.type))
    ]


def _events(body: bytes) -> Iterator[ReceivedEvent]:
    """The events of requests. A message without any is not parsed."""
    if REQUESTED.encode() not in body:
        return
    try:
        for element in split(body):
            if isinstance(element, dict) and element.get("type") == REQUESTED:
                yield ReceivedEvent.model_validate(element)
    except (EnvelopeError, ValidationError) as error:
        log.warning("a message on %s cannot be read: %s", QUEUE, reason(error))
