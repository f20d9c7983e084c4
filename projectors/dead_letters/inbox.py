"""Consumes all queues of the dead-letter worker, one delivery batch at a time; a delivery is acknowledged only after its commit.

    <origin>.dead ─────▶ letters ──committed──▶ inquiry to the projections: have you passed these events? ──▶ acknowledge
    dead_letters.passed ▶ progress messages: close letters and items; reports of acts, denials, starts: audit ──committed──▶ acknowledge
    control.operations ─▶ requests (``requests``) ──committed──▶ reply ──▶ acknowledge

Letters and progress messages use different queues, so the message that an event was passed may arrive before its letter. Therefore an
inquiry is sent for each new letter: a projection that has passed the event reports it again. No clocks are compared.

While the operations database is unavailable, nothing is acknowledged, and the queues keep all messages.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from pydantic import ValidationError

from projectors.dead_letters.actions.audit import record_reported
from projectors.dead_letters.actions.deploying import record_deployments
from projectors.dead_letters.letters.ingest import ingest
from projectors.dead_letters.letters.letter import Incoming, event_identity
from projectors.dead_letters.letters.reading import ORIGIN_OF, parse_letters, unreadable
from projectors.dead_letters.outgoing import HeldEvent, inquiries
from projectors.dead_letters.replaying.items import resolve
from projectors.dead_letters.requests import handle, reply
from projectors.dead_letters.sealing import Sealing
from shared.messages.changes import Started
from shared.messages.control import Acted, Passed, Request
from shared.messages.denials import Denied
from shared.messaging import topology
from shared.messaging.broker import Publisher
from shared.messaging.consuming import Consumer, Delivery
from shared.runtime.failpoints import Failpoint, reached
from shared.runtime.outage import OutageRetry
from shared.runtime.postgres import Database
from shared.runtime.process import Stopped

log: Final = logging.getLogger(__name__)

QUEUES: Final = (*ORIGIN_OF, topology.PASSED_QUEUE, topology.OPERATIONS_QUEUE)
REPORTS: Final[dict[str, type[Request[Any]]]] = {
    "acted": Request[Acted],
    "denied": Request[Denied],
    "started": Request[Started],
}
"""By the last word of the routing key: what is recorded in the audit. All others are progress messages, ``Passed``."""
PREFETCH: Final = 200
MAX_DELIVERIES: Final = 500
MAX_BATCH_BYTES: Final = 8 * 1024 * 1024
"""Maximum bytes of letters' bodies in one transaction."""


class Inbox:
    def __init__(
        self,
        consumer: Consumer,
        database: Database,
        publisher: Publisher,
        outages: OutageRetry,
        seal: Sealing,
        *,
        on_change: Callable[[], None],
    ) -> None:
        self._consumer = consumer
        self._database = database
        self._publisher = publisher
        self._on_change = on_change
        self._outages = outages
        self._seal = seal

    @property
    def trouble(self) -> str | None:
        return self._outages.trouble

    async def run(self, stopping: asyncio.Event) -> None:
        try:
            await self._outages.until_up(self._database.pool)
            while not stopping.is_set():
                await self._handle(await self._consumer.take(MAX_DELIVERIES, timeout=0.5))
        except Stopped:
            return

    async def _handle(self, deliveries: Sequence[Delivery]) -> None:
        for batch in _batches([delivery for delivery in deliveries if delivery.queue in ORIGIN_OF]):
            await self._handle_letters(batch)
        progress = [delivery for delivery in deliveries if delivery.queue == topology.PASSED_QUEUE]
        if progress:
            await self._handle_progress(progress)
        for delivery in deliveries:
            if delivery.queue == topology.OPERATIONS_QUEUE:
                await self._handle_request(delivery)
        if deliveries:
            self._on_change()

    async def _handle_letters(self, deliveries: Sequence[Delivery]) -> None:
        now = datetime.now(UTC)
        letters = [letter for delivery in deliveries for letter in parse_letters(delivery, now)]
        try:
            await self._store(letters)
        except Stopped:
            raise
        except Exception:
            if len(deliveries) > 1:
                log.exception("%d dead letters could not be stored together; storing them one by one", len(deliveries))
                for delivery in deliveries:
                    await self._handle_letters([delivery])
                return
            log.exception("a dead letter could not be stored; storing only its bytes")
            letters = [unreadable(deliveries[0], RuntimeError("could not be stored as it says it is"), now)]
            await self._store(letters)
        reached(Failpoint.AFTER_COMMIT)
        events = [HeldEvent(n.origin, n.stream, n.version) for n in letters if n.stream is not None and n.version]
        inquiry_messages = list(inquiries(events, f"inquiry/{uuid4()}", now))
        await self._publisher.publish_all(inquiry_messages, sleep=self._outages.pause)
        reached(Failpoint.BEFORE_ACK)
        await self._consumer.acknowledge(deliveries)

    async def _store(self, letters: Sequence[Incoming]) -> None:
        async def step() -> None:
            sealed = [await self._seal.letter(letter) for letter in letters]
            pool = await self._database.pool()
            async with pool.acquire(timeout=10) as connection, connection.transaction():
                await ingest(connection, sealed)
                reached(Failpoint.BEFORE_COMMIT)

        await self._outages.until_up(step)

    async def _handle_progress(self, deliveries: Sequence[Delivery]) -> None:
        messages = [message for delivery in deliveries if (message := _parse(delivery)) is not None]
        passed = [each for message in messages if isinstance(message.data, Passed) for each in _events(message.data)]
        reported = [message for message in messages if isinstance(message.data, Acted | Denied)]
        started = [message for message in messages if isinstance(message.data, Started)]

        async def step() -> int:
            pool = await self._database.pool()
            async with pool.acquire(timeout=10) as connection, connection.transaction():
                closed = await resolve(connection, passed)
                await record_reported(connection, reported)
                await record_deployments(connection, started)
                return closed

        closed = await self._outages.until_up(step)
        if closed:
            log.info("%d letters closed", closed)
        await self._consumer.acknowledge(deliveries)

    async def _handle_request(self, delivery: Delivery) -> None:
        result = await self._outages.until_up(lambda: handle(self._database, delivery, self._seal))
        log.info("%s request %s: %s", result.verb, result.request_id, type(result).__name__.lower())
        message = reply(delivery, result)
        if message is not None:
            await self._publisher.publish_all([message], sleep=self._outages.pause)
        await self._consumer.acknowledge([delivery])


def _batches(deliveries: Sequence[Delivery]) -> Iterator[list[Delivery]]:
    """Batches that are small enough for one transaction; a single larger message is a batch of its own."""
    batch: list[Delivery] = []
    size = 0
    for delivery in deliveries:
        if batch and size + len(delivery.body) > MAX_BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(delivery)
        size += len(delivery.body)
    if batch:
        yield batch


def _parse(delivery: Delivery) -> Request[Any] | None:
    """The progress message; None if it is invalid. Only our own processes publish it, so that is a bug: it is logged and dropped."""
    shape = REPORTS.get(delivery.routing_key.rpartition(".")[2], Request[Passed])
    try:
        return shape.model_validate_json(delivery.body)
    except ValidationError as error:
        log.error("an invalid progress message was dropped: %s", error)  # noqa: TRY400 - the traceback adds nothing
        return None


def _events(message: Passed) -> Iterator[tuple[str, bytes, str]]:
    for event in message.events:
        yield message.projection, event_identity(event.stream, event.version), event.how
