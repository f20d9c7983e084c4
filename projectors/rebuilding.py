"""Rebuilding: history, page by page, into the generations that are being built. Live events have gone first by then, always.

    ask ──[control] history──▶ command service ──▶ begin ──▶ apply, apply … ──▶ end: the cursor moves ──▶ … ──▶ done
                                                     └──ask for the next page                                    │
             ready ◀──no gaps left── every lane's heads compared (``consumer``) ◀──ask for the heads of all lanes─┘

- The registry's cursor says how far history is in; everything else here may be forgotten at any moment. Where the cursor has not moved for
  some seconds, whoever claims it first asks again from there.
- History waits while live events lag, and where the order named a rate.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final

from pydantic import ValidationError

from projectors.consumer import DEADLY_AFTER, SWEEP_EVERY_S, groups
from projectors.decoding import decode
from projectors.generations import Generations, Hosted
from projectors.lag import Lag
from projectors.notices import heads_request, history_request
from projectors.options import Options
from projectors.pages import Pages, Place
from projectors.patience import Patience
from shared import topology
from shared.consuming import Consumer, Delivery
from shared.contracts.lanes import HistoryPage
from shared.failpoints import Failpoint, reached
from shared.process import Stopped

log: Final = logging.getLogger(__name__)

TAKE: Final = 10
PORTION: Final = 1000
"""Events applied between two looks at how live events are doing."""
PAGE: Final = 5000
SHORTEST_PAGE: Final = 100
PAGE_LASTS_S: Final = 2.0
"""At the rate that was ordered."""
STALLED_AFTER_S: Final = 5.0
MOST_LAG_S: Final = 0.5
WAIT_S: Final = 0.05
TOUCH_EVERY_S: Final = 1.0


@dataclass(slots=True)
class _Course:
    """What this process knows of a generation that is being built."""

    pages: Pages = field(default_factory=Pages)
    updated_at: datetime | None = None
    """As the registry had it, and since when, by our clock, it has been so."""
    since: float = 0.0
    free_at: float = 0.0
    """When more may be applied at the rate that was ordered."""
    touched: float = 0.0


class Rebuilder:
    def __init__(
        self,
        name: str,
        generations: Generations,
        consumer: Consumer,
        patience: Patience,
        options: Options,
        *,
        lag: Lag,
    ) -> None:
        self.name = name
        self._generations = generations
        self._consumer = consumer
        self._patience = patience
        self._options = options
        self._lag = lag
        self._courses: dict[tuple[int, datetime], _Course] = {}
        self._swept = float("-inf")

    async def run(self, stopping: asyncio.Event) -> None:
        with suppress(Stopped):
            while not stopping.is_set():
                await self._look_after()
                await self._take_in(await self._consumer.take(TAKE, timeout=0.5))

    async def _take_in(self, deliveries: Sequence[Delivery]) -> None:
        portion: list[Delivery] = []
        for delivery in deliveries:
            if topology.EVENTS_HEADER in delivery.headers:
                portion.append(delivery)
            else:
                await self._apply(portion)
                portion = []
                await self._turn(delivery)
        await self._apply(portion)

    async def _apply(self, deliveries: Sequence[Delivery]) -> None:
        by_generation: dict[int, list[Delivery]] = {}
        for delivery in deliveries:
            number = delivery.headers.get(topology.GENERATION_HEADER)
            by_generation.setdefault(number if isinstance(number, int) else 0, []).append(delivery)
        for number, found in by_generation.items():
            hosted = self._building(number)
            course = self._course(hosted) if hosted is not None else None
            ours = [delivery for delivery in found if course is not None and _takes(course.pages, delivery)]
            if hosted is not None and course is not None:
                for group in groups(ours):
                    await self._apply_to(hosted, course, group)
        await self._consumer.acknowledge(deliveries)

    async def _apply_to(self, hosted: Hosted, course: _Course, deliveries: Sequence[Delivery]) -> None:
        decoded = decode(deliveries, {}, lanes=self._options.lanes)
        for item in decoded.undecodable:
            log.error("%s: history has what is no event: %s", self.name, item.failure.exception)
        deadly = deliveries[0].deliveries >= DEADLY_AFTER
        for start in range(0, len(decoded.arrived), PORTION):
            portion = decoded.arrived[start : start + PORTION]
            await self._wait_for_turn(hosted, course, len(portion))
            outgoing = await self._generations.apply_to(hosted, portion, limit=PORTION, one_by_one=deadly)
            await self._patience.publish(outgoing)
            reached(Failpoint.AFTER_PORTION)
            await self._touch(hosted, course)

    async def _wait_for_turn(self, hosted: Hosted, course: _Course, events: int) -> None:
        """Live first; and no faster than the order said."""
        while self._lag.seconds(_now()) > MOST_LAG_S or course.free_at > _now():
            await self._patience.pause(WAIT_S)
            await self._touch(hosted, course)
        if hosted.generation.rate is not None:
            course.free_at = max(course.free_at, _now()) + events / hosted.generation.rate

    async def _touch(self, hosted: Hosted, course: _Course) -> None:
        """Somebody is at work: nobody else need ask again."""
        if _now() - course.touched >= TOUCH_EVERY_S:
            course.touched = _now()
            await self._patience.until_up(partial(self._generations.registry.touch, hosted.number))

    async def _turn(self, delivery: Delivery) -> None:
        """The beginning or the end of a page."""
        try:
            page = HistoryPage.model_validate_json(delivery.body)
        except ValidationError as error:
            log.error("%s: a message that is no history was dropped: %s", self.name, error)  # noqa: TRY400
        else:
            await self._patience.until_up(self._generations.refresh)
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
        if scanned is None:
            return
        reached(Failpoint.BEFORE_SCANNED)
        registry = self._generations.registry
        await self._patience.until_up(partial(registry.scanned, hosted.number, scanned))
        await self._patience.until_up(self._generations.refresh)
        if scanned.done:
            log.info("%s: all of history is in generation %d", self.name, hosted.number)
            await self._ask_for_heads(hosted)

    async def _look_after(self) -> None:
        """Once a second: ask again where nothing has moved for a while; and what lacks nothing is ready."""
        if _now() - self._swept < SWEEP_EVERY_S:
            return
        self._swept = _now()
        building = [hosted for hosted in self._generations if not hosted.is_ready]
        known = {_key(hosted) for hosted in building}
        self._courses = {key: course for key, course in self._courses.items() if key in known}
        for hosted in building:
            course, at = self._course(hosted), hosted.generation
            if course.updated_at != at.updated_at:
                course.updated_at, course.since = at.updated_at, _now()
            if at.done and len(at.settled) >= self._options.lanes:
                await self._finish(hosted)
            elif self._is_new(hosted) or _now() - course.since >= STALLED_AFTER_S:
                await self._resume(hosted, course)

    def _is_new(self, hosted: Hosted) -> bool:
        at = hosted.generation
        return at.updated_at == at.begun_at

    async def _resume(self, hosted: Hosted, course: _Course) -> None:
        at = hosted.generation
        course.since = _now()
        if not await self._patience.until_up(partial(self._generations.registry.claim, at)):
            return
        course.pages.forget()
        if at.done:
            await self._ask_for_heads(hosted)
        else:
            log.info(
                "%s asks for history after %s for generation %d", self.name, at.cursor_stream or "nothing", at.number
            )
            await self._ask(hosted, (at.cursor_stream, at.cursor_version))

    async def _finish(self, hosted: Hosted) -> None:
        if await self._generations.on(hosted, hosted.store.gaps) == 0:
            await self._patience.until_up(partial(self._generations.registry.ready, hosted.number))
            await self._patience.until_up(self._generations.refresh)
            log.info("%s: generation %d is ready", self.name, hosted.number)

    async def _ask(self, hosted: Hosted, after: Place) -> None:
        at, limit = hosted.generation, PAGE
        if at.rate is not None:
            limit = min(PAGE, max(SHORTEST_PAGE, int(at.rate * PAGE_LASTS_S)))
        request = history_request(self.name, at.number, after, limit, count=at.total is None)
        await self._patience.publish([request])

    async def _ask_for_heads(self, hosted: Hosted) -> None:
        at = hosted.generation
        lanes = [lane for lane in range(self._options.lanes) if lane not in at.settled]
        requests = [heads_request(self.name, lane, at.reads_since, generation=at.number) for lane in lanes]
        await self._patience.publish([request for _, request in requests])

    def _building(self, number: int) -> Hosted | None:
        hosted = self._generations.get(number)
        return hosted if hosted is not None and not hosted.is_ready and not hosted.generation.done else None

    def _course(self, hosted: Hosted) -> _Course:
        return self._courses.setdefault(_key(hosted), _Course())


def _key(hosted: Hosted) -> tuple[int, datetime]:
    return hosted.number, hosted.generation.begun_at


def _takes(pages: Pages, delivery: Delivery) -> bool:
    asked, events = delivery.headers.get(topology.PAGE_HEADER), delivery.headers.get(topology.EVENTS_HEADER)
    return isinstance(asked, str) and isinstance(events, int) and pages.takes(asked, events)


def _now() -> float:
    return asyncio.get_running_loop().time()
