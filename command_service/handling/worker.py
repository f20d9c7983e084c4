"""The command worker: take waiting messages, decide them as one unit, reply, acknowledge.

    [commands] ──▶ inbox ──▶ read ──▶ Gate ──▶ Handler (one transaction) ──▶ replies, confirmed ──▶ acknowledge

After a crash anywhere before the acknowledgement the broker redelivers: the commands are known then, and get the same outcomes.

Commands are decided in the queue's order, with any number of workers: the queue has a single active consumer, and what it leaves
unacknowledged is redelivered to the next in the same order, before anything else. A worker that was frozen and resumes decides what it
still holds, also in that order: each of those commands gets its existing outcome, or the one it would have got.
"""

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from command_service.archiving import retention
from command_service.handling.decision import Scheduled
from command_service.handling.handler import Handler
from command_service.handling.isolation import is_deadly, units_of_work
from command_service.handling.parsing import Command, Message, read
from command_service.handling.poison import with_poison
from command_service.handling.replies import Result, replies_to
from command_service.measuring import commands as command_metrics
from command_service.measuring.command_spans import CommandSpans
from command_service.scheduling.scheduled_commands import Waiting
from command_service.senders.directory import SenderDirectory
from command_service.senders.gate import Gate, NoGate
from shared.messaging import topology
from shared.messaging.announcing import Announcer
from shared.messaging.broker import Outgoing, Publisher, user_in
from shared.messaging.consuming import Consumer, Delivery
from shared.messaging.denials import Denials
from shared.messaging.queue_watch import QueueWatch
from shared.messaging.reply_to import reply_queue
from shared.messaging.reports import Reports, started
from shared.privacy.marks import MARKER
from shared.runtime.failpoints import Failpoint, reached
from shared.runtime.process import Process, Stopped, pause, require_loopback
from shared.runtime.settings import Settings

log: Final = logging.getLogger(__name__)

HEARTBEAT_S: Final = 5
"""A worker frozen for 10 to 15 seconds loses the queue to the next one."""
MARKER_BYTES: Final = MARKER.encode()
TAKE_BYTES: Final = 2 * 1024 * 1024
"""The most bytes of messages that are decided in one transaction, unless one message is larger: they bound the memory."""


class Worker:
    def __init__(
        self, consumer: Consumer, publisher: Publisher, handler: Handler, gate: Gate | NoGate, *, batch: int
    ) -> None:
        self._consumer = consumer
        self._publisher = publisher
        self._handler = handler
        self._gate = gate
        self._batch = batch
        self._stopping = asyncio.Event()

    async def run(self, stopping: asyncio.Event) -> None:
        self._stopping = stopping
        await self._handler.open()
        with suppress(Stopped):
            while not stopping.is_set():
                for unit in units_of_work(await self._consumer.take(self._batch, size=TAKE_BYTES, timeout=0.5)):
                    await self._handle(unit)

    async def _handle(self, unit: Sequence[Delivery]) -> None:
        began = time.monotonic()
        received = [await self._read(each) for each in unit]
        deliveries, messages = await self._gate.pass_through(unit, received)
        spans = CommandSpans()
        traced = spans.begin(deliveries, messages)
        commands = [part for message in traced for part in message.parts if isinstance(part, Command)]
        decided = iter(await self._decide(commands, one_by_one=is_deadly(deliveries[0])))
        results = [_in_order(message, decided) for message in messages]
        await self._schedule(deliveries, traced, results)
        spans.end(results)
        reached(Failpoint.AFTER_COMMIT)
        outgoing: list[Outgoing] = []
        for delivery, message, of_message in zip(deliveries, messages, results, strict=True):
            outgoing += replies_to(delivery, message, of_message)
        if outgoing:
            await self._publisher.publish_all(outgoing, sleep=partial(pause, self._stopping))
        reached(Failpoint.BEFORE_ACK)
        await self._consumer.acknowledge(deliveries)
        command_metrics.count(
            (
                pair
                for message, of_message in zip(messages, results, strict=True)
                for pair in zip(message.parts, of_message, strict=True)
            ),
            time.monotonic() - began,
        )

    async def _read(self, delivery: Delivery) -> Message:
        message = read(
            delivery.body, delivery.correlation_id, headers=delivery.headers, content_type=delivery.content_type
        )
        return await self._handler.opened(message) if MARKER_BYTES in delivery.body else message

    async def _schedule(
        self, deliveries: Sequence[Delivery], messages: Sequence[Message], results: Sequence[Sequence[Result]]
    ) -> None:
        waiting = [
            Waiting(part, result.due_at, reply_queue(delivery.reply_to) or None, delivery.user_id)
            for delivery, message, of_message in zip(deliveries, messages, results, strict=True)
            for part, result in zip(message.parts, of_message, strict=True)
            if isinstance(result, Scheduled) and isinstance(part, Command)
        ]
        if waiting:
            await self._handler.schedule(waiting)

    async def _decide(self, commands: Sequence[Command], *, one_by_one: bool) -> list[Result]:
        """Messages may be batches: the unit of work stays bounded. ``one_by_one``: for commands that may kill the worker."""
        if one_by_one:
            return [await self._handler.handle_suspect(command) for command in commands]
        results: list[Result] = []
        for start in range(0, len(commands), self._batch):
            results += await self._handler.handle(commands[start : start + self._batch])
        return results


def _in_order(message: Message, results: Iterator[Result]) -> list[Result]:
    """One result for each part: the next of ``results`` for a command; an undecodable part is its own result."""
    return [next(results) if isinstance(part, Command) else part for part in message.parts]


async def run(settings: Settings) -> int:
    """The deployable ``worker``."""
    rabbitmq_url = settings.require("rabbitmq_url")
    process = Process("worker", runtime_dir=settings.runtime_dir)
    consumer = Consumer(
        rabbitmq_url,
        [topology.COMMAND_QUEUE],
        prefetch=2 * settings.command_batch,
        name="worker",
        heartbeat_s=HEARTBEAT_S,
    )
    publisher = Publisher(rabbitmq_url, "worker")
    handler = Handler(
        settings.require("write_db_url"),
        settings.require("keys_db_url"),
        decide=with_poison(settings),
        stopping=process.stopping,
    )
    queues = QueueWatch(publisher.connected, [topology.dead_queue("commands")])
    denials = Denials("worker", publisher)
    reports = Reports(publisher, started("worker", settings.build))
    directory = SenderDirectory(handler.senders)
    gate = Gate(directory, denials, user_in(rabbitmq_url)) if settings.auth == "on" else NoGate()
    if settings.auth == "off":
        require_loopback(urlsplit(rabbitmq_url).hostname or "localhost", "TIDEMARK_RABBITMQ_URL")
        log.warning("authentication is off: every user of the broker may send every command, in anybody's name")
    worker = Worker(consumer, publisher, handler, gate, batch=settings.command_batch)
    pruner = retention.pruner(settings.write_db_url)
    try:
        return await process.run(
            {
                "worker": lambda: worker.run(process.stopping),
                "denials": lambda: denials.run(process.stopping),
                "retention": lambda: pruner.run(process.stopping),
            },
            background={"consumer": consumer.run, "queues": queues.run, "reports": reports.run},
            probes={
                "consumer": lambda: consumer.trouble,
                "database": lambda: handler.trouble,
                "publisher": lambda: publisher.trouble,
                "queues": lambda: queues.trouble or consumer.queues_trouble,
                "retention": lambda: pruner.trouble,
            },
            announcer=Announcer("worker", publisher),
        )
    finally:
        await publisher.close()
        await handler.close()
