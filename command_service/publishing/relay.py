"""The outbox relay: publishes every committed event to the broker, in stream order, confirmed, at least once.

    lead (advisory lock) ──▶ read the head ──▶ pack ──▶ publish, pipelined ──▶ delete confirmed rows ──▶ wait for NOTIFY, or 1 s

- One leader at a time; a second relay stands by and takes over when the leader's session ends. A leader that was paused for longer
  may publish again what its successor has published: projectors drop duplicates by version.
- A row is deleted only after its message and all messages before it in its lane are confirmed.
- Messages are numbered in each lane, within the epoch and this leadership, so that projectors detect a lost one.
- An event that the broker cannot route, or refuses, stays in the outbox; its lane waits behind it, other lanes do not, and the relay
  reports itself unhealthy.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

import asyncpg

from command_service.handling import epochs
from command_service.handling.decision import SOURCE
from command_service.handling.outbox import CHANNEL, DELETE, HEAD, NOW
from command_service.measuring.event_spans import record_published
from command_service.measuring.outbox import FIGURES_EVERY_S, OutboxFigures, failure_label
from command_service.privacy.eraser import Eraser
from command_service.publishing.history import PREFETCH as HISTORY_PREFETCH
from command_service.publishing.history import HistoryPublisher
from command_service.publishing.packing import Row, RowBatch, row_batches
from command_service.publishing.resend import PREFETCH, Resender
from command_service.scheduling.scheduler import Scheduler
from shared.messages.envelope import CONTENT_TYPE
from shared.messages.lanes import HEARTBEAT, Heartbeat
from shared.messaging import topology
from shared.messaging.acted import acted_message
from shared.messaging.announcing import Announcer
from shared.messaging.broker import BrokerError, BrokerUnavailableError, Outgoing, Publisher
from shared.messaging.consuming import Consumer
from shared.messaging.queue_watch import QueueWatch
from shared.messaging.reports import Reports, started
from shared.observability import metrics, tracing
from shared.observability.sampling import Figures
from shared.privacy.key_database import KeyDatabase
from shared.runtime.failpoints import Failpoint, reached
from shared.runtime.leading import Leader
from shared.runtime.process import Process
from shared.runtime.reasons import reason
from shared.runtime.settings import Settings

log: Final = logging.getLogger(__name__)

READ_BATCH: Final = 2000
HEARTBEAT_EVERY_S: Final = 1.0
PROBE_EVERY_S: Final = 1.0
SHORTEST_LINGER_S: Final = 0.004
LINGER_PER_ROW_S: Final = 0.0008
LONGEST_LINGER_S: Final = 0.03
"""Pause after a round that found rows, longer for more rows: under load the next round packs larger messages."""


class Relay:
    def __init__(self, write_db_url: str, publisher: Publisher, reports: Reports, *, lanes: int) -> None:
        self._leader = Leader(
            write_db_url,
            lock="tidemark relay, all lanes",
            channel=CHANNEL,
            what="tidemark relay",
            store="the write database",
        )
        self._publisher = publisher
        self._reports = reports
        self._lanes = lanes
        self._last_heartbeat = 0.0
        self._stuck: set[int] = set()
        """Lanes with events that the broker cannot route or refuses: skipped, and retried once a second."""
        self._retried_at = 0.0
        self._epoch = ""
        """The epoch of the write database."""
        self._run = ""
        """The run of the current sequence numbers: the epoch, and a unique id of this leadership."""
        self._numbers: Counter[int] = Counter()

    @property
    def trouble(self) -> str | None:
        """What keeps events from being published; None while there is no problem, and while standing by."""
        return self._leader.trouble

    @property
    def leads(self) -> bool:
        return self._leader.leads

    async def run(self, stopping: asyncio.Event) -> None:
        """Lead, or stand by to lead, until stopped; retries during an outage of the database."""
        await self._leader.run(stopping, begin=self._begin, work=self._round)

    async def _begin(self, connection: asyncpg.Connection) -> None:
        with self._leader.progress.step("reading the epoch of the write database"):
            await self._begin_run(connection, await epochs.ensure_current(connection))
        log.info("the relay leads lanes 0 to %d", self._lanes - 1)

    async def _begin_run(self, connection: asyncpg.Connection, epoch: epochs.Epoch) -> None:
        """Restart the sequence numbers, under a new run. The epoch's beginning is reported, of which the audit takes the first report."""
        self._reports.add(acted_message(await epochs.as_act(connection, epoch), SOURCE))
        self._epoch, self._run, self._numbers = epoch.name, topology.run_of(epoch.name, uuid4().hex), Counter()

    async def _round(self, connection: asyncpg.Connection) -> None:
        with self._leader.progress.step("publishing the outbox"):
            found = await self._publish_outbox(connection)
        if 0 < found < READ_BATCH:
            await asyncio.sleep(min(SHORTEST_LINGER_S + LINGER_PER_ROW_S * found, LONGEST_LINGER_S))
        elif not found:
            await self._leader.notified()

    async def _publish_outbox(self, connection: asyncpg.Connection) -> int:
        """Publish the outbox's first rows, and heartbeats when due; return the number of rows."""
        self._leader.about_to_read()
        if time.monotonic() - self._retried_at >= PROBE_EVERY_S:
            self._retried_at, self._stuck = time.monotonic(), set()
        beating = time.monotonic() - self._last_heartbeat >= HEARTBEAT_EVERY_S
        as_of: datetime | None = await connection.fetchval(NOW) if beating else None
        read = await connection.fetch(HEAD, READ_BATCH, self._lanes, list(self._stuck))
        rows = [Row(*record) for record in read]
        trouble = await self._publish(connection, row_batches(rows, self._lanes)) if rows else None
        if trouble is None and as_of is not None and len(rows) < READ_BATCH:
            trouble = await self._heartbeat(connection, as_of)
        if trouble is not None:
            self._leader.problem = f"events cannot be published: {reason(trouble)}"
            await asyncio.sleep(0.1 if self._stuck else 0.5)
        elif not self._stuck:
            self._leader.problem = None
        return len(rows)

    async def _publish(self, connection: asyncpg.Connection, packed: Sequence[RowBatch]) -> BrokerError | None:
        """Publish, and delete what is confirmed; return the error of the first message that was not published."""
        began, began_ns = time.monotonic(), time.time_ns()
        sent = await asyncio.gather(
            *(
                self._send(batch.message(topology.lane_key(batch.lane), self._sequence_headers(batch.lane)))
                for batch in packed
            ),
            return_exceptions=True,
        )
        metrics.CONFIRM_SECONDS.observe(time.monotonic() - began)
        if tracing.recorder is not None:
            record_published(tracing.recorder, packed, sent, began_ns)
        failed: dict[int, BaseException] = {}
        confirmed: list[int] = []
        for batch, error in zip(packed, sent, strict=True):
            if error is not None:
                metrics.PUBLISH_FAILURES.add(1, failure_label(error))
                failed.setdefault(batch.lane, error)
            elif batch.lane not in failed:
                confirmed += batch.ids()
        if confirmed:
            reached(Failpoint.BEFORE_DELETE)
            await connection.execute(DELETE, confirmed)
            metrics.PUBLISHED.add(len(confirmed))
        for lane, error in failed.items():
            if not isinstance(error, BrokerError):
                raise error
            if not isinstance(error, BrokerUnavailableError):
                self._stuck.add(lane)
        return next((error for error in failed.values() if isinstance(error, BrokerError)), None)

    async def _send(self, message: Outgoing) -> None:
        await self._publisher.publish(message)
        reached(Failpoint.BEFORE_CONFIRM)

    async def _heartbeat(self, connection: asyncpg.Connection, as_of: datetime) -> BrokerError | None:
        """Publish that everything committed before ``as_of`` has been published, except on stuck lanes."""
        epoch = await epochs.ensure_current(connection)
        if epoch.name != self._epoch:
            await self._begin_run(connection, epoch)
        lanes = [lane for lane in range(self._lanes) if lane not in self._stuck]
        beats = [self._publisher.publish(self._heartbeat_message(lane, as_of)) for lane in lanes]
        for lane, error in zip(lanes, await asyncio.gather(*beats, return_exceptions=True), strict=True):
            if isinstance(error, BrokerError):
                if not isinstance(error, BrokerUnavailableError):
                    self._stuck.add(lane)
                return error
            if error is not None:
                raise error
        self._last_heartbeat = time.monotonic()
        return None

    def _sequence_headers(self, lane: int) -> dict[str, Any]:
        """The headers by which a projector detects a lost message of the lane, even if no event follows it."""
        self._numbers[lane] += 1
        return {topology.EPOCH_HEADER: self._run, topology.SEQUENCE_HEADER: self._numbers[lane]}

    def _heartbeat_message(self, lane: int, as_of: datetime) -> Outgoing:
        beat = Heartbeat(
            id=f"heartbeat/{lane}/{as_of.timestamp()}",
            source=SOURCE,
            time=as_of,
            lane=lane,
            asof=as_of,
            epoch=self._epoch,
        )
        body = beat.model_dump_json().encode()
        key = topology.lane_key(lane)
        return Outgoing(topology.EVENTS, key, body, CONTENT_TYPE, HEARTBEAT, headers=self._sequence_headers(lane))


async def run(settings: Settings) -> int:
    """The deployable ``relay``: publishes events, resends them at a projection's request, and history, and commands that are due;
    sees erasures through."""
    rabbitmq_url, write_db_url = settings.require("rabbitmq_url"), settings.require("write_db_url")
    process = Process("relay", runtime_dir=settings.runtime_dir)
    publisher = Publisher(rabbitmq_url, "relay")
    reports = Reports(publisher, started("relay", settings.build))
    relay = Relay(write_db_url, publisher, reports, lanes=settings.lanes)
    control = [topology.control_queue(name) for name in topology.SUBSCRIBERS]
    queues = QueueWatch(publisher.connected, [*control, topology.COMMAND_QUEUE])
    requests = Consumer(rabbitmq_url, [topology.RESEND_QUEUE], prefetch=PREFETCH, name="relay")
    resend_publisher = Publisher(rabbitmq_url, "resend")
    resender = Resender(write_db_url, requests, resend_publisher, lanes=settings.lanes)
    history_requests = Consumer(rabbitmq_url, [topology.HISTORY_QUEUE], prefetch=HISTORY_PREFETCH, name="history")
    history_publisher = Publisher(rabbitmq_url, "history")
    historian = HistoryPublisher(write_db_url, history_requests, history_publisher)
    eraser = Eraser(
        write_db_url, KeyDatabase(settings.require("keys_db_url")), resend_publisher, stopping=process.stopping
    )
    scheduler = Scheduler(write_db_url, resend_publisher, stopping=process.stopping)
    figures = OutboxFigures(write_db_url)
    process.samplers.append(lambda: metrics.LEADING.set(relay.leads))
    try:
        return await process.run(
            {
                "relay": lambda: relay.run(process.stopping),
                "resender": lambda: resender.run(process.stopping),
                "historian": lambda: historian.run(process.stopping),
                "scheduler": lambda: scheduler.run(process.stopping),
                "eraser": lambda: eraser.run(process.stopping),
            },
            background={
                "requests": requests.run,
                "history requests": history_requests.run,
                "queues": queues.run,
                "reports": reports.run,
            }
            | {"figures": Figures(figures.read, metrics.OUTBOX, metrics.OUTBOX_AGE, every_s=FIGURES_EVERY_S).run},
            probes={
                "relay": lambda: relay.trouble,
                "requests": lambda: requests.trouble,
                "resender": lambda: resender.trouble,
                "history requests": lambda: history_requests.trouble,
                "historian": lambda: historian.trouble,
                "scheduler": lambda: scheduler.trouble,
                "eraser": lambda: eraser.trouble,
                "queues": lambda: queues.trouble or requests.queues_trouble or history_requests.queues_trouble,
            },
            announcer=Announcer("relay", publisher),
        )
    finally:
        for each in (publisher, resend_publisher, history_publisher, resender, historian, scheduler, eraser, figures):
            await each.close()
