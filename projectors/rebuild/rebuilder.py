"""Rebuilding: history, page by page, into the generations that are being built. Live events have gone first by then, always.

    ask ──[control] history──▶ command service ──▶ begin ──▶ apply, apply … ──▶ end: the cursor moves ──▶ … ──▶ done
                                                     └──ask for the next page                                    │
  ready ◀──complete──no gaps left── every lane's heads compared (``consumer``) ◀──ask for the heads of all lanes─┘

- The registry's cursor says how far history is in; everything else here may be forgotten at any moment. Where the cursor has not moved for
  some seconds, whoever claims it first asks again from there.
- History waits while live events lag, and where the order named a rate.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Final

from pydantic import ValidationError

from projectors.generations.hosting import Generations, Hosted
from projectors.generations.registry import Scanned
from projectors.rebuild.batch_sizer import MOST, BatchSizer
from projectors.rebuild.history_batches import BESIDE_LIVE, HistoryBatches
from projectors.rebuild.history_pages import Place
from projectors.rebuild.live_priority import LivePriority
from projectors.rebuild.rebuild_progress import RebuildProgress, page_size
from projectors.runtime.consumer import SUSPICIOUS_AFTER
from projectors.runtime.decoding import Arrived, decode
from projectors.runtime.failure_messages import heads_request, history_request
from projectors.runtime.lag import LagMeter
from projectors.runtime.options import Options
from shared.messages.lanes import HistoryPage
from shared.messaging import topology
from shared.messaging.broker import Publisher
from shared.messaging.consuming import Consumer, Delivery
from shared.runtime.failpoints import Failpoint, reached
from shared.runtime.outage import OutageRetry
from shared.runtime.process import Stopped

log: Final = logging.getLogger(__name__)

LARGEST_UNIT: Final = 3000
MOST_LAG_S: Final = 0.5
WAIT_S: Final = 0.05
LOOK_EVERY_S: Final = 0.1


class Rebuilder:
    def __init__(
        self,
        name: str,
        generations: Generations,
        consumer: Consumer,
        publisher: Publisher,
        outages: OutageRetry,
        options: Options,
        *,
        lag: LagMeter,
        precedence: LivePriority,
        pace: BatchSizer,
        most: int,
    ) -> None:
        """``most``: how many portions of a generation are under way at once, where no live events come."""
        self.name = name
        self._generations = generations
        self._consumer = consumer
        self._publisher = publisher
        self._outages = outages
        self._options = options
        self._lag = lag
        self._precedence = precedence
        self._most = most
        self._pace = pace
        self._courses: dict[tuple[int, datetime], RebuildProgress] = {}
        self._looked = float("-inf")

    async def run(self, stopping: asyncio.Event) -> None:
        with suppress(Stopped):
            while not stopping.is_set():
                await self._look_after()
                size = self._pace.size(beside_live=self._precedence.lately(_now()))
                timeout = LOOK_EVERY_S if self._courses else 0.5
                deliveries = await self._consumer.take(MOST, size=size, timeout=timeout)
                await self._take_in(deliveries)
                if not deliveries:
                    await self._flush()
        for course in self._courses.values():
            await course.portions.close()

    async def _take_in(self, deliveries: Sequence[Delivery]) -> None:
        usual: list[Delivery] = []
        for delivery in deliveries:
            if topology.EVENTS_HEADER in delivery.headers and delivery.deliveries < SUSPICIOUS_AFTER:
                usual.append(delivery)
                continue
            await self._add(usual)
            usual = []
            if topology.EVENTS_HEADER in delivery.headers:
                await self._flush()
                await self._add([delivery])
                await self._flush()
            else:
                await self._turn(delivery)
        await self._add(usual)

    async def _add(self, deliveries: Sequence[Delivery]) -> None:
        """Events of history: those of the page at hand are applied, others pass by."""
        by_generation: dict[int, list[Delivery]] = {}
        for delivery in deliveries:
            by_generation.setdefault(_generation_of(delivery), []).append(delivery)
        for number, found in by_generation.items():
            hosted = self._building(number)
            course = self._course(hosted) if hosted is not None else None
            ours = [delivery for delivery in found if course is not None and _is_of_page(course, delivery)]
            await self._consumer.acknowledge([delivery for delivery in found if delivery not in ours])
            if course is not None and ours:
                await course.portions.add([(delivery, await self._events_of(delivery)) for delivery in ours])

    async def _events_of(self, delivery: Delivery) -> Sequence[Arrived]:
        """A message at a time: others who wait for us go on in between, the store with them; and live first."""
        await asyncio.sleep(0)
        await self._precedence.history()
        decoded = decode([delivery], {}, lanes=self._options.lanes)
        for item in decoded.undecodable:
            log.error("%s: history has what is no event: %s", self.name, item.failure.exception)
        return decoded.arrived

    async def _apply(
        self, hosted: Hosted, course: RebuildProgress, portion: Sequence[Arrived], *, size: int, deadly: bool
    ) -> None:
        """Live first; and no faster than the order said."""
        await self._precedence.history()
        while self._lag.seconds(_now()) > MOST_LAG_S or course.free_at > _now():
            await self._outages.pause(WAIT_S)
            await self._touch(hosted, course)
        began = _now()
        course.spend(len(portion), hosted.generation.rate, began)
        applied = await self._generations.apply_to(hosted, portion, limit=LARGEST_UNIT, one_by_one=deadly)
        self._pace.took(size, _now() - began)
        await self._publisher.publish_all(applied.outgoing, sleep=self._outages.pause)
        await hosted.applier.confirmed(applied.letters)
        reached(Failpoint.AFTER_PORTION)
        await self._touch(hosted, course)

    async def _touch(self, hosted: Hosted, course: RebuildProgress) -> None:
        """Somebody is at work: nobody else need ask again."""
        if course.is_to_touch(_now()):
            await self._outages.until_up(partial(self._generations.registry.touch, hosted.number))

    async def _flush(self) -> None:
        for course in list(self._courses.values()):
            await course.portions.flush()

    async def _turn(self, delivery: Delivery) -> None:
        """The beginning or the end of a page."""
        try:
            page = HistoryPage.model_validate_json(delivery.body)
        except ValidationError as error:
            log.error("%s: a message that is no history was dropped: %s", self.name, error)  # noqa: TRY400
        else:
            await self._outages.until_up(self._generations.refresh)
            hosted = self._building(page.generation)
            if hosted is not None:
                await (self._begin if page.place == "begin" else self._end)(hosted, page)
        await self._consumer.acknowledge([delivery])

    async def _begin(self, hosted: Hosted, page: HistoryPage) -> None:
        at = hosted.generation
        following = self._course(hosted).pages.begin(page, (at.cursor_stream, at.cursor_version))
        if following is not None:
            await self._ask(hosted, following)

    async def _end(self, hosted: Hosted, page: HistoryPage) -> None:
        course = self._course(hosted)
        scanned = course.pages.end(page)
        if scanned is not None:
            await course.portions.end(partial(self._note, hosted, course, scanned))

    async def _note(self, hosted: Hosted, course: RebuildProgress, scanned: Scanned) -> None:
        """All of the page is applied."""
        reached(Failpoint.BEFORE_SCANNED)
        if not await self._outages.until_up(partial(self._generations.registry.scanned, hosted.number, scanned)):
            course.pages.forget()  # the cursor is elsewhere: another process was at work
        await self._outages.until_up(self._generations.refresh)
        if scanned.done:
            log.info("%s: all of history is in generation %d", self.name, hosted.number)
            await self._ask_for_heads(hosted)

    async def _look_after(self) -> None:
        """Now and then: ask again where nothing has moved for a while; and what lacks nothing is ready."""
        now = _now()
        if now - self._looked < LOOK_EVERY_S:
            return
        self._looked = now
        building = [
            hosted for hosted in self._generations if not hosted.is_ready and hosted.generation.moving_to is None
        ]
        known = {_key(hosted) for hosted in building}
        for key in self._courses.keys() - known:
            await self._courses.pop(key).portions.close()
        for hosted in building:
            course, at = self._course(hosted), hosted.generation
            course.see(at.updated_at, now)
            if at.done and len(at.settled) >= self._options.lanes:
                if course.is_to_finish(now):
                    await self._finish(hosted)
            elif at.updated_at == at.begun_at or course.is_stalled(now):
                course.since = now
                await self._resume(hosted, course)

    async def _resume(self, hosted: Hosted, course: RebuildProgress) -> None:
        at = hosted.generation
        if not await self._outages.until_up(partial(self._generations.registry.claim, at)):
            return
        course.pages.forget()
        if at.done:
            await self._ask_for_heads(hosted)
        else:
            place = at.cursor_stream or "nothing"
            log.info("%s asks for history after %s for generation %d", self.name, place, at.number)
            await self._ask(hosted, (at.cursor_stream, at.cursor_version), count=at.total is None)

    async def _finish(self, hosted: Hosted) -> None:
        if await self._generations.on(hosted, hosted.store.gaps) == 0:
            complete = partial(hosted.store.complete, self._precedence.history)
            await self._generations.on(hosted, complete, takes_long=True)
            await self._outages.until_up(partial(self._generations.registry.ready, hosted.number))
            await self._outages.until_up(self._generations.refresh)
            log.info("%s: generation %d is ready", self.name, hosted.number)

    async def _ask(self, hosted: Hosted, after: Place, *, count: bool = False) -> None:
        """``count``: and how many events there are, which costs the command service a look at every stream."""
        at = hosted.generation
        request = history_request(self.name, at.number, after, page_size(at.rate), count=count)
        await self._publisher.publish_all([request], sleep=self._outages.pause)

    async def _ask_for_heads(self, hosted: Hosted) -> None:
        at = hosted.generation
        lanes = [lane for lane in range(self._options.lanes) if lane not in at.settled]
        requests = [heads_request(self.name, lane, at.reads_since, generation=at.number) for lane in lanes]
        await self._publisher.publish_all([request for _, request in requests], sleep=self._outages.pause)

    def _at_once(self) -> int:
        return BESIDE_LIVE if self._precedence.lately(_now()) else self._most

    def _building(self, number: int) -> Hosted | None:
        hosted = self._generations.get(number)
        if hosted is None or hosted.is_ready or hosted.generation.done or hosted.generation.moving_to is not None:
            return None
        return hosted

    def _course(self, hosted: Hosted) -> RebuildProgress:
        course = self._courses.get(_key(hosted))
        if course is None:

            async def apply(portion: Sequence[Arrived], *, size: int, deadly: bool) -> None:
                await self._apply(hosted, self._course(hosted), portion, size=size, deadly=deadly)

            course = self._courses[_key(hosted)] = RebuildProgress(
                HistoryBatches(apply, self._consumer.acknowledge, most=self._at_once)
            )
        return course


def _key(hosted: Hosted) -> tuple[int, datetime]:
    return hosted.number, hosted.generation.begun_at


def _generation_of(delivery: Delivery) -> int:
    number = delivery.headers.get(topology.GENERATION_HEADER)
    return number if isinstance(number, int) else 0


def _is_of_page(course: RebuildProgress, delivery: Delivery) -> bool:
    asked, events = delivery.headers.get(topology.PAGE_HEADER), delivery.headers.get(topology.EVENTS_HEADER)
    return isinstance(asked, str) and isinstance(events, int) and course.pages.takes(asked, events)


def _now() -> float:
    return asyncio.get_running_loop().time()
