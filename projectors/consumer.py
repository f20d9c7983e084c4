"""The projector runtime, the same for every read model: take what waits, apply it, publish what failed, acknowledge.

    lanes ──▶ inbox ──▶ decode ──▶ Applier (store transactions) ──▶ notices, confirmed ──▶ acknowledge
                                     └── store away: pause with jittered back-off; nothing acknowledged, nothing counted

A crash at any point before the acknowledgement makes the broker deliver again; the versions in the store say what was applied.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_delay,
    wait_random_exponential,
)

from projectors.applying import Applied, Applier
from projectors.decoding import Arrived, decode
from projectors.notices import resend_requests, undecodable_letter
from projectors.projection import Store, StoreUnavailableError
from shared import topology
from shared.broker import BrokerError, Outgoing, Publisher
from shared.consuming import Consumer, Delivery
from shared.process import Process
from shared.settings import Settings

log: Final = logging.getLogger(__name__)

PREFETCH: Final = 25
"""Messages of up to 100 events, for each lane: what bounds a projector's memory."""
TAKE: Final = 50
SWEEP_EVERY_S: Final = 1.0
NOTICE_PATIENCE_S: Final = 30.0
SUSPICIOUS_AFTER: Final = 2
"""A message delivered this often before may be killing us: it is tried alone."""

T = TypeVar("T")


class Stopped(Exception):
    """The process is stopping; what was at hand stays unacknowledged."""


class Projector:
    def __init__(
        self, name: str, store: Store, consumer: Consumer, publisher: Publisher, *, lanes: int, batch: int
    ) -> None:
        self.name = name
        self._store = store
        self._consumer = consumer
        self._publisher = publisher
        self._batch = batch
        self._lane_of_queue = {topology.lane_queue(name, lane): lane for lane in range(lanes)}
        self._applier = Applier(name, store, tiers=topology.RETRY_TIERS, clock=lambda: datetime.now(UTC))
        self._stopping = asyncio.Event()
        self._swept = 0.0
        self.trouble: str | None = "the store has not been reached yet"

    async def run(self, stopping: asyncio.Event) -> None:
        self._stopping = stopping
        with suppress(Stopped):
            await self._until_up(self._store.open)
            while not stopping.is_set():
                deliveries = await self._consumer.take(TAKE, timeout=0.5)
                for group in _groups(deliveries):
                    await self._handle(group)
                await self._sweep()

    async def _handle(self, deliveries: Sequence[Delivery]) -> None:
        decoded = decode(deliveries, self._lane_of_queue)
        outgoing = [undecodable_letter(self.name, item) for item in decoded.undecodable]
        for unit in _units(decoded.arrived, self._batch):
            outgoing += (await self._apply(unit)).outgoing
        if decoded.as_of:
            await self._until_up(lambda: self._applier.apply([], decoded.as_of))
        if await self._publish(outgoing):
            await self._consumer.acknowledge(deliveries)

    async def _apply(self, unit: Sequence[Arrived]) -> Applied:
        return await self._until_up(lambda: self._applier.apply(unit, {}))

    async def _sweep(self) -> None:
        """Ask again for what was asked for and has not come."""
        if time.monotonic() - self._swept < SWEEP_EVERY_S:
            return
        self._swept = time.monotonic()
        overdue = await self._until_up(lambda: self._store.overdue(datetime.now(UTC), 1000))
        if overdue:
            log.info("%s asks again for %d streams", self.name, len(overdue))
            wanted = [(stream, applied + 1) for stream, applied in overdue]
            await self._publish(list(resend_requests(self.name, wanted)))

    async def _until_up(self, step: Callable[[], Awaitable[T]]) -> T:
        """An outage is not poison: wait, however long it takes, and do the same again. Raises Stopped."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(StoreUnavailableError),
            wait=wait_random_exponential(multiplier=0.1, max=5),
            before_sleep=self._say_trouble,
            sleep=self._pause,
        )
        async for attempt in retrying:
            with attempt:
                result = await step()
        self.trouble = None
        return result

    async def _publish(self, outgoing: Sequence[Outgoing]) -> bool:
        """Whether all was confirmed; if not, the deliveries stay unacknowledged and come again."""
        waiting = list(outgoing)

        async def attempt() -> None:
            nonlocal waiting
            done = await asyncio.gather(*map(self._publisher.publish, waiting), return_exceptions=True)
            errors = [error for error in done if error is not None]
            waiting = [message for message, error in zip(waiting, done, strict=True) if error is not None]
            if errors:
                raise errors[0]

        try:
            await AsyncRetrying(
                retry=retry_if_exception_type(BrokerError),
                wait=wait_random_exponential(multiplier=0.1, max=3),
                stop=stop_after_delay(NOTICE_PATIENCE_S),
                sleep=self._pause,
                reraise=True,
            )(attempt)
        except BrokerError as error:
            log.warning("%s could not publish %d notices: %s", self.name, len(waiting), error)
            return False
        return True

    def _say_trouble(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        self.trouble = f"the store is away: {error}"
        if state.attempt_number in (1, 10) or state.attempt_number % 100 == 0:
            log.warning("%s: %s (attempt %d)", self.name, self.trouble, state.attempt_number)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        if self._stopping.is_set():
            raise Stopped


def _groups(deliveries: Sequence[Delivery]) -> list[list[Delivery]]:
    """Together, but for those that were delivered before so often that one of them may be killing the process."""
    usual = [delivery for delivery in deliveries if delivery.deliveries < SUSPICIOUS_AFTER]
    alone = [[delivery] for delivery in deliveries if delivery.deliveries >= SUSPICIOUS_AFTER]
    return [usual, *alone] if usual else alone


def _units(arrived: Sequence[Arrived], limit: int) -> list[Sequence[Arrived]]:
    return [arrived[start : start + limit] for start in range(0, len(arrived), limit)]


async def run(name: str, store: Store, settings: Settings) -> int:
    """One projector, as a deployable."""
    rabbitmq_url = settings.require("rabbitmq_url")
    process = Process(name, runtime_dir=settings.runtime_dir)
    queues = [topology.lane_queue(name, lane) for lane in range(settings.lanes)]
    consumer = Consumer(rabbitmq_url, queues, prefetch=PREFETCH, name=name)
    publisher = Publisher(rabbitmq_url, name)
    projector = Projector(name, store, consumer, publisher, lanes=settings.lanes, batch=settings.projector_batch)
    try:
        return await process.run(
            {name: lambda: projector.run(process.stopping)},
            background={"consumer": consumer.run},
            probes={
                "consumer": lambda: None if consumer.consuming else "not consuming",
                "store": lambda: projector.trouble,
            },
        )
    finally:
        await publisher.close()
        with suppress(StoreUnavailableError):
            await store.close()
