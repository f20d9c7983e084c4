"""The projector runtime, the same for every read model: take what waits, apply it, publish what failed, acknowledge.

    lanes ──▶ inbox ──▶ decode ──▶ Applier (store transactions) ──▶ notices, confirmed ──▶ acknowledge
                                     └── store away: pause with jittered back-off; nothing acknowledged, nothing counted

A crash at any point before the acknowledgement makes the broker deliver again; the versions in the store say what was applied.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Final, TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    wait_random_exponential,
)

from projectors.applying import Applier
from projectors.decoding import Arrived, decode
from projectors.drill import drilled
from projectors.herald import Herald
from projectors.lanewatch import LaneWatch
from projectors.notices import heads_request, resend_requests, undecodable_letter
from projectors.options import Options
from projectors.orders import Orders
from projectors.projection import Store, StoreUnavailableError
from shared import topology
from shared.broker import Outgoing, Publisher
from shared.consuming import Consumer, Delivery
from shared.contracts.lanes import Heads
from shared.failpoints import Failpoint, reached
from shared.process import Process, Stopped, pause
from shared.settings import Settings

log: Final = logging.getLogger(__name__)

PREFETCH: Final = 25
"""Messages of up to 100 events, for each lane: what bounds a projector's memory."""
TAKE: Final = 50
SWEEP_EVERY_S: Final = 1.0
LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
SUSPICIOUS_AFTER: Final = 2
"""A message delivered this often before may be killing us: it is tried alone."""
DEADLY_AFTER: Final = 3
"""And after one more time its events are tried one by one, each written down before."""

T = TypeVar("T")


class Projector:
    def __init__(
        self,
        name: str,
        store: Store,
        consumer: Consumer,
        publisher: Publisher,
        options: Options,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """``clock``: for what is written down; waiting goes by the event loop's own."""
        self.name = name
        self._clock = clock
        self._store = store
        self._consumer = consumer
        self._publisher = publisher
        self._options = options
        self._lane_of_queue = {topology.lane_queue(name, lane): lane for lane in range(options.lanes)}
        tiers = topology.RETRY_TIERS[: options.retries]
        self._herald = Herald(name, publisher)
        self._applier = Applier(name, store, tiers=tiers, clock=clock, tell=self._herald.tell)
        self._orders = Orders(name, store, self._applier)
        self._watch = LaneWatch()
        self._certain: dict[int, datetime] = {}
        """The ``as_of`` of each lane that the store has confirmed to us."""
        self._stopping = asyncio.Event()
        self._swept = float("-inf")
        self.trouble: str | None = "the store has not been reached yet"

    async def run(self, stopping: asyncio.Event) -> None:
        self._stopping = stopping
        with suppress(Stopped):
            await self._until_up(self._store.open)
            while not stopping.is_set():
                deliveries = await self._consumer.take(TAKE, timeout=0.5)
                events = [delivery for delivery in deliveries if delivery.queue in self._lane_of_queue]
                for group in _groups(events):
                    await self._handle(group)
                for delivery in deliveries:
                    if delivery.queue not in self._lane_of_queue:
                        await self._obey(delivery)
                await self._sweep()
        await self._herald.close()

    async def _handle(self, deliveries: Sequence[Delivery]) -> None:
        decoded = decode(deliveries, self._lane_of_queue)
        outgoing = [undecodable_letter(self.name, item) for item in decoded.undecodable]
        if deliveries[0].deliveries >= DEADLY_AFTER:
            outgoing += await self._one_by_one(decoded.arrived)
        else:
            for unit in _units(decoded.arrived, self._options.batch):
                outgoing += await self._apply(unit)
        for delivery in deliveries:
            self._watch.note(self._lane_of_queue[delivery.queue], dict(delivery.headers))
        for heads in decoded.heads:
            outgoing += await self._compare(heads)
        as_of = self._watch.trusted(decoded.as_of)
        if as_of:
            await self._until_up(lambda: self._applier.progress(as_of))
            self._certain |= as_of
        await self._publish(outgoing)
        if decoded.arrived:
            reached(Failpoint.BEFORE_ACK)
        await self._consumer.acknowledge(deliveries)

    async def _apply(self, unit: Sequence[Arrived]) -> list[Outgoing]:
        applied = await self._until_up(lambda: self._applier.apply(unit))
        return applied.outgoing + await self._one_by_one(applied.suspects)

    async def _one_by_one(self, arrived: Sequence[Arrived]) -> list[Outgoing]:
        """For what may be killing the process: so that only the guilty event is held, and not for ever tried."""
        outgoing: list[Outgoing] = []
        for item in sorted(arrived, key=lambda item: (item.event.stream, item.event.version)):
            letter = await self._until_up(partial(self._applier.mark, item))
            if letter is not None:
                outgoing.append(letter)
            else:
                applied = await self._until_up(partial(self._applier.apply, [item], marked=True))
                outgoing += applied.outgoing
        return outgoing

    async def _compare(self, heads: Heads) -> list[Outgoing]:
        """Nothing is trusted before all that is missing has been noted, and asked for."""
        result = await self._until_up(lambda: self._applier.compare(dict(heads.streams)))
        if heads.last:
            self._watch.settle(heads.lane, heads.asked)
        return result.outgoing

    async def _obey(self, delivery: Delivery) -> None:
        outgoing = await self._until_up(lambda: self._orders.obey(delivery))
        await self._publish(outgoing)
        await self._consumer.acknowledge([delivery])

    async def _sweep(self) -> None:
        """Ask again for what was asked for and has not come, and for the heads of lanes that may have lost something.

        A store that knows less than it did (emptied, or restored from a backup) puts its lanes under suspicion as well.
        """
        now = asyncio.get_running_loop().time()
        if now - self._swept < SWEEP_EVERY_S:
            return
        self._swept = now
        overdue = await self._until_up(lambda: self._store.overdue(self._clock(), 1000))
        if overdue:
            log.info("%s asks again for %d streams", self.name, len(overdue))
            wanted = [(stream, applied + 1) for stream, applied in overdue]
            await self._publish(list(resend_requests(self.name, wanted)))
        as_of = await self._until_up(self._store.as_of)
        for lane, certain in self._certain.items():
            if (as_of.get(lane) or LONG_AGO) < certain:
                log.warning("%s: the store has been set back; comparing lane %d", self.name, lane)
                self._watch.doubt(lane)
        self._certain = {lane: time for lane, time in as_of.items() if time is not None}
        for lane in self._watch.to_ask(now):
            state = self._watch.lanes[lane]
            # as_of stands still while a lane is suspect, so what the store says now was certain before.
            state.asked, request = heads_request(self.name, lane, as_of.get(lane))
            state.asked_at = now
            await self._publish([request])

    async def _until_up(self, step: Callable[[], Awaitable[T]]) -> T:
        """An outage is not poison: wait, however long it takes, and do the same again. Raises Stopped."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(StoreUnavailableError),
            wait=wait_random_exponential(multiplier=0.1, max=self._options.longest_pause_s),
            before_sleep=self._say_trouble,
            sleep=partial(pause, self._stopping),
        )
        async for attempt in retrying:
            with attempt:
                result = await step()
        self.trouble = None
        return result

    async def _publish(self, outgoing: Sequence[Outgoing]) -> None:
        """Return when all is confirmed, however long it takes. Raises Stopped."""
        if outgoing:
            await self._publisher.publish_all(outgoing, sleep=partial(pause, self._stopping))

    def _say_trouble(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        self.trouble = f"the store is away: {error}"
        if state.attempt_number in (1, 10) or state.attempt_number % 100 == 0:
            log.warning("%s: %s (attempt %d)", self.name, self.trouble, state.attempt_number)


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
    options = Options.of(name, settings)
    process = Process(name, runtime_dir=settings.runtime_dir)
    queues = [topology.lane_queue(name, lane) for lane in range(settings.lanes)]
    consumer = Consumer(rabbitmq_url, [*queues, topology.control_queue(name)], prefetch=PREFETCH, name=name)
    publisher = Publisher(rabbitmq_url, name)
    projector = Projector(name, drilled(name, store, settings), consumer, publisher, options)
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
        with suppress(StoreUnavailableError, TimeoutError):
            await store.close()
