"""Consuming through an inbox: deliveries wait, unacknowledged, until the worker takes them as one batch.

    RabbitMQ ──prefetch──▶ FastStream subscriber ──▶ inbox ──take──▶ the worker: transaction ──acknowledge──▶ RabbitMQ

Only ``acknowledge`` acknowledges. When the connection is lost, the inbox is dropped (the broker redelivers its content) and a new
connection is made, with jittered back-off. Each queue has its own channel and consumer: a queue that is missing, or whose consumer
the broker has cancelled, is retried independently, and the others continue.
"""

import asyncio
import logging
import math
import time
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import aiormq
from aio_pika import IncomingMessage
from aio_pika.abc import AbstractConnection
from faststream.rabbit import RabbitBroker
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from shared.messaging import amqp_properties
from shared.messaging.broker import (
    CLOSE_DEADLINE_S,
    CONNECT_DEADLINE_S,
    HEARTBEAT_S,
    BrokerError,
    BrokerUnavailableError,
    deadline,
    refuses_login,
    with_heartbeat,
)
from shared.messaging.queue_watch import MAX_NAMED, QueueWatch
from shared.messaging.subscribing import LONGEST_PAUSE_S, WATCH_EVERY_S, Subscription
from shared.observability.connections import watch_broker
from shared.runtime.connecting.current_url import connected
from shared.runtime.reasons import reason

log: Final = logging.getLogger(__name__)

RATE_WINDOW_S: Final = 0.1
BUSY_RATE: Final = 75.0
FULL_ENOUGH: Final = 50
"""Above this many messages a second, and below this many in the inbox, a batch that is not full waits to fill, for:"""
LINGER_PER_RATE_S: Final = 2e-5
SHORTEST_LINGER_S: Final = 0.002
LONGEST_LINGER_S: Final = 0.025


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message, not yet acknowledged."""

    queue: str
    body: bytes
    headers: Mapping[str, Any]
    content_type: str
    routing_key: str
    reply_to: str
    correlation_id: str | None
    redelivered: bool
    tag: int
    channel: aiormq.abc.AbstractChannel
    exchange: str = ""
    user_id: str = ""
    """The user that published it, as the broker has verified; empty: the message does not say."""

    @property
    def deliveries(self) -> int:
        """How many times it was delivered before, as counted by the queue."""
        count = self.headers.get("x-delivery-count", 0)
        return count if isinstance(count, int) else 0


@dataclass(slots=True)
class _Acknowledged:
    """Acknowledged tags: all up to ``upto``, and those in ``beyond``."""

    upto: int = 0
    beyond: set[int] = field(default_factory=set)


class Consumer:
    """Deliveries of some queues, over its own connection. ``run`` keeps it connected and each queue subscribed independently."""

    def __init__(
        self, url: str, queues: Sequence[str], *, prefetch: int, name: str, heartbeat_s: int = HEARTBEAT_S
    ) -> None:
        """``heartbeat_s``: a process frozen for two to three times as long loses its deliveries to the next consumer."""
        amqp_properties.tolerate()
        self._url = url
        self._heartbeat_s = heartbeat_s
        self._name = name
        self._subscriptions = {queue: self._subscription(queue, prefetch) for queue in queues}
        self._inbox: deque[Delivery] = deque()
        self._arrived = asyncio.Event()
        self._acknowledged: dict[aiormq.abc.AbstractChannel, _Acknowledged] = {}
        self._count = 0
        self._counted_since = 0.0
        self._rate = 0.0
        self._disconnected: str | None = "not connected to RabbitMQ yet"
        self._watch: QueueWatch | None = None
        self.label = f"{name} consumer"
        watch_broker(self)

    @property
    def is_open(self) -> bool:
        return self._disconnected is None

    @property
    def waiting(self) -> int:
        return len(self._inbox)

    @property
    def trouble(self) -> str | None:
        """Why no messages arrive: no connection, or the queues that cannot be consumed from."""
        if self._disconnected is not None:
            return self._disconnected
        ended = [each.trouble for each in self._subscriptions.values() if each.trouble is not None]
        return "; ".join(ended[:MAX_NAMED]) or (self._watch.unresponsive if self._watch is not None else None)

    @property
    def queues_trouble(self) -> str | None:
        """The queues that are missing or have wrong arguments."""
        return self._watch.trouble if self._watch is not None and self.trouble is None else None

    def silent_s(self, queue: str) -> float:
        """Seconds since the last delivery of a queue; 0 if there was none since it was subscribed."""
        return self._subscriptions[queue].silent_s

    async def run(self) -> None:
        """Consume until cancelled."""
        while True:
            broker, lost = await self._connect()
            try:
                await self._consume(broker, lost)
            finally:
                self._disconnected = "the connection to RabbitMQ was lost"
                self._watch = None
                self._inbox.clear()
                self._acknowledged.clear()
                await self._stop(broker)
            log.warning("%s lost its connection to RabbitMQ; connecting again", self._name)

    async def _consume(self, broker: RabbitBroker, lost: asyncio.Event) -> None:
        """Return when the connection is lost."""
        self._watch = watch = QueueWatch(broker.connect, list(self._subscriptions))
        turn = asyncio.Lock()
        tasks = [asyncio.create_task(each.keep(broker, watch, turn)) for each in self._subscriptions.values()]
        tasks += [asyncio.create_task(watch.run()), asyncio.create_task(_until_lost(await broker.connect(), lost))]
        self._disconnected = None
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await _cancel_all(tasks)

    async def take(
        self,
        limit: int,
        *,
        size: float = math.inf,
        timeout: float,  # noqa: ASYNC109 - an empty answer, no error
    ) -> list[Delivery]:
        """Up to ``limit`` deliveries, in order of arrival; [] if none arrives within ``timeout`` seconds.

        More than one are at most ``size`` bytes together. At a high rate it waits briefly, as full batches are cheaper; at a low rate
        it does not.
        """
        if not self._inbox:
            self._arrived.clear()
            try:
                async with asyncio.timeout(timeout):
                    await self._arrived.wait()
            except TimeoutError:
                return []
        linger = self._linger()
        if linger and len(self._inbox) < min(limit, FULL_ENOUGH):
            await asyncio.sleep(linger)
        taken: list[Delivery] = []
        while self._inbox and len(taken) < limit:
            size -= len(self._inbox[0].body)
            if taken and size < 0:
                break
            taken.append(self._inbox.popleft())
        taken.sort(key=lambda delivery: (id(delivery.channel), delivery.tag))
        return taken

    def _linger(self) -> float:
        """Seconds to wait for more deliveries, from the recent rate."""
        now = time.monotonic()
        elapsed = now - self._counted_since
        if elapsed >= RATE_WINDOW_S:
            self._rate = self._count / elapsed
            self._count, self._counted_since = 0, now
        if self._rate < BUSY_RATE:
            return 0.0
        return min(max(self._rate * LINGER_PER_RATE_S, SHORTEST_LINGER_S), LONGEST_LINGER_S)

    async def acknowledge(self, deliveries: Iterable[Delivery]) -> None:
        """Acknowledge these deliveries. Where the channel is lost, the broker redelivers them, which is harmless."""
        by_channel: dict[aiormq.abc.AbstractChannel, list[int]] = defaultdict(list)
        for delivery in deliveries:
            by_channel[delivery.channel].append(delivery.tag)
        for channel, tags in by_channel.items():
            tags.sort()
            try:
                if channel.is_closed:
                    raise BrokerUnavailableError("their channel is gone")
                async with deadline(CONNECT_DEADLINE_S):
                    await self._acknowledge(channel, tags)
            except BrokerError as error:
                log.info("%s could not acknowledge %d deliveries: %s", self._name, len(tags), error)

    async def _acknowledge(self, channel: aiormq.abc.AbstractChannel, tags: Sequence[int]) -> None:
        """Use one frame with ``multiple`` for the tags that follow those acknowledged before without a gap."""
        done = self._acknowledged.setdefault(channel, _Acknowledged())
        before = done.upto
        done.beyond.update(tags)
        while done.upto + 1 in done.beyond:
            done.upto += 1
            done.beyond.discard(done.upto)
        if done.upto > before:
            # The last of these tags, not one acknowledged out of order before: the broker closes the channel for a tag acknowledged twice.
            await channel.basic_ack(max(tag for tag in tags if tag <= done.upto), multiple=True)
        for tag in tags:
            if tag > done.upto:
                await channel.basic_ack(tag)

    async def _connect(self) -> tuple[RabbitBroker, asyncio.Event]:
        async for attempt in AsyncRetrying(
            wait=wait_random_exponential(multiplier=0.2, max=LONGEST_PAUSE_S),
            retry=retry_if_exception_type(BrokerError),
            reraise=True,
        ):
            with attempt:
                try:
                    async with deadline(CONNECT_DEADLINE_S):
                        return await connected(self._url, self._start, refuses_login)
                except BaseException as error:
                    self._disconnected = f"RabbitMQ cannot be reached: {reason(error)}"
                    raise
        raise AssertionError("it is retried without end")

    async def _start(self, url: str) -> tuple[RabbitBroker, asyncio.Event]:
        broker, lost = self._build(url)
        try:
            await broker.start()
        except BaseException:
            await self._stop(broker)
            raise
        return broker, lost

    def _build(self, url: str) -> tuple[RabbitBroker, asyncio.Event]:
        lost = asyncio.Event()

        def on_close(*_: object) -> None:
            lost.set()

        broker = RabbitBroker(
            with_heartbeat(url, self._heartbeat_s),
            timeout=CONNECT_DEADLINE_S,
            on_close=[on_close],
            logger=None,
            apply_types=False,
            graceful_timeout=1,
            client_properties={"connection_name": f"{self._name} consumer"},  # type: ignore[arg-type]
        )
        return broker, lost

    def _subscription(self, queue: str, prefetch: int) -> Subscription:
        def deliver(raw: IncomingMessage) -> None:
            self._inbox.append(
                Delivery(
                    queue=queue,
                    body=raw.body,
                    headers=raw.headers,
                    content_type=raw.content_type or "",
                    routing_key=raw.routing_key or "",
                    reply_to=raw.reply_to or "",
                    correlation_id=raw.correlation_id,
                    redelivered=bool(raw.redelivered),
                    tag=raw.delivery_tag or 0,
                    channel=raw.channel,
                    exchange=raw.exchange or "",
                    user_id=raw.user_id or "",
                )
            )
            self._count += 1
            self._arrived.set()

        def acknowledged(channel: aiormq.abc.AbstractChannel) -> int:
            done = self._acknowledged.get(channel)
            return 0 if done is None else done.upto

        return Subscription(queue, deliver, acknowledged, self._drop, prefetch=prefetch, name=self._name)

    def _drop(self, channel: aiormq.abc.AbstractChannel) -> None:
        """Drop the deliveries of a closed channel, which are redelivered; those of other channels stay."""
        self._acknowledged.pop(channel, None)
        self._inbox = deque(each for each in self._inbox if each.channel is not channel)

    async def _stop(self, broker: RabbitBroker) -> None:
        try:
            async with deadline(CLOSE_DEADLINE_S):
                await broker.stop()
        except BrokerError as error:
            log.debug("%s gave up closing a connection: %s", self._name, error)


async def _cancel_all(tasks: Collection[asyncio.Task[None]]) -> None:
    """Return when all have ended; they are cancelled repeatedly, as a dying connection may swallow a cancellation."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=CLOSE_DEADLINE_S)


async def _until_lost(connection: AbstractConnection, lost: asyncio.Event) -> None:
    """Return when the original connection is gone: FastStream's connections reopen themselves, with stale deliveries."""
    transport = connection.transport
    while not lost.is_set():
        if transport is None or connection.transport is not transport or transport.connection.is_closed:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(WATCH_EVERY_S):
                await lost.wait()
