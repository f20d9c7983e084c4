"""Rebuilds generations: applies history page by page to the generations that are being built, after live events.

    ask ──[control] history──▶ command service ──▶ begin ──▶ apply, apply … ──▶ end: the cursor moves ──▶ … ──▶ done
                                                     └──ask for the next page                                    │
  ready ◀──complete──no gaps left── every lane's heads compared (``consumer``) ◀──ask for the heads of all lanes─┘

- The registry's cursor is the only durable progress; all other state may be lost at any time. If the cursor has not moved for some
  seconds, the first process that claims it requests history again from there.
- History waits while live events lag, and as long as the requested rate demands.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Final

from pydantic import ValidationError

from projectors.generations.hosting import Generations, HostedGeneration
from projectors.generations.registry import AppliedPage
from projectors.rebuild.history import MAX_BESIDE_LIVE, Cursor, HistoryBatches
from projectors.rebuild.pacing import MAX_MESSAGES, BatchSizer, LivePriority
from projectors.rebuild.rebuild_progress import RebuildProgress, page_size
from projectors.runtime.consumer import ISOLATE_MESSAGE_AFTER
from projectors.runtime.decoding import ArrivedEvent, decode
from projectors.runtime.failure_messages import heads_request, history_request
from projectors.runtime.measuring import LagMeter
from projectors.runtime.opening import EventOpener
from projectors.runtime.options import Options
from projectors.stores.port import HoldStatus
from shared.messages.lanes import HistoryPage
from shared.messaging import topology
from shared.messaging.broker import Publisher
from shared.messaging.consuming import Consumer, Delivery
from shared.runtime.failpoints import Failpoint, reached
from shared.runtime.outage import OutageRetry
from shared.runtime.process import Stopped

log: Final = logging.getLogger(__name__)

MAX_UNIT: Final = 3000
MAX_LAG_S: Final = 0.5
WAIT_S: Final = 0.05
MAINTAIN_EVERY_S: Final = 0.1


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
        live_priority: LivePriority,
        batch_sizer: BatchSizer,
        max_batches: int,
        opener: EventOpener | None = None,
    ) -> None:
        """``max_batches``: how many batches of a generation run at once while no live events arrive."""
        self.name = name
        self._generations = generations
        self._consumer = consumer
        self._publisher = publisher
        self._outages = outages
        self._options = options
        self._lag = lag
        self._live_priority = live_priority
        self._max_batches = max_batches
        self._opener = opener
        self._batch_sizer = batch_sizer
        self._progress: dict[tuple[int, datetime], RebuildProgress] = {}
        self._kinds = frozenset(generations.kinds)
        self._maintained_at = float("-inf")

    async def run(self, stopping: asyncio.Event) -> None:
        with suppress(Stopped):
            while not stopping.is_set():
                await self._maintain()
                size = self._batch_sizer.size(beside_live=self._live_priority.is_live_recent(_now()))
                timeout = MAINTAIN_EVERY_S if self._progress else 0.5
                deliveries = await self._consumer.take(MAX_MESSAGES, size=size, timeout=timeout)
                await self._handle(deliveries)
                if not deliveries:
                    await self._flush()
        for progress in self._progress.values():
            await progress.batches.close()

    async def _handle(self, deliveries: Sequence[Delivery]) -> None:
        regular: list[Delivery] = []
        for delivery in deliveries:
            if topology.EVENTS_HEADER in delivery.headers and delivery.deliveries < ISOLATE_MESSAGE_AFTER:
                regular.append(delivery)
                continue
            await self._add(regular)
            regular = []
            if topology.EVENTS_HEADER in delivery.headers:
                await self._flush()
                await self._add([delivery])
                await self._flush()
            else:
                await self._handle_page_marker(delivery)
        await self._add(regular)

    async def _add(self, deliveries: Sequence[Delivery]) -> None:
        """Handle events of history: those of the current page are applied, others are only acknowledged."""
        by_generation: dict[int, list[Delivery]] = {}
        for delivery in deliveries:
            by_generation.setdefault(_generation_of(delivery), []).append(delivery)
        for number, found in by_generation.items():
            hosted = self._building(number)
            progress = self._progress_of(hosted) if hosted is not None else None
            accepted = [delivery for delivery in found if progress is not None and _is_of_page(progress, delivery)]
            await self._consumer.acknowledge([delivery for delivery in found if delivery not in accepted])
            messages = [(delivery, await self._events_of(delivery)) for delivery in accepted]
            await self._consumer.acknowledge([delivery for delivery, events in messages if not events])
            if progress is not None and (with_events := [message for message in messages if message[1]]):
                await progress.batches.add(with_events)

    async def _events_of(self, delivery: Delivery) -> Sequence[ArrivedEvent]:
        """Decode one message, after yielding to other tasks and to live events."""
        await asyncio.sleep(0)
        await self._live_priority.wait_for_turn()
        decoded = decode([delivery], {}, lanes=self._options.lanes, kinds=self._kinds)
        for item in decoded.undecodable:
            log.error("%s: a message of history could not be decoded: %s", self.name, item.failure.exception)
        return decoded.arrived if self._opener is None else await self._opener.open(decoded.arrived)

    async def _apply(
        self,
        hosted: HostedGeneration,
        progress: RebuildProgress,
        batch: Sequence[ArrivedEvent],
        *,
        size: int,
        deadly: bool,
    ) -> None:
        """Apply one batch, after live events and no faster than the requested rate."""
        await self._live_priority.wait_for_turn()
        while self._lag.seconds(_now()) > MAX_LAG_S or progress.next_allowed_at > _now():
            await self._outages.pause(WAIT_S)
            await self._touch(hosted, progress)
        began = _now()
        progress.consume_rate(len(batch), hosted.generation.rate, began)
        applied = await self._generations.apply_to(hosted, batch, limit=MAX_UNIT, one_by_one=deadly)
        self._batch_sizer.record(size, _now() - began)
        await self._publisher.publish_all(applied.outgoing, sleep=self._outages.pause)
        await hosted.applier.confirmed(applied.letters)
        reached(Failpoint.AFTER_PORTION)
        await self._touch(hosted, progress)

    async def _touch(self, hosted: HostedGeneration, progress: RebuildProgress) -> None:
        """Update the registry, so that no other process requests history again."""
        if progress.touch_is_due(_now()):
            await self._outages.until_up(partial(self._generations.registry.touch, hosted.number))

    async def _flush(self) -> None:
        for progress in list(self._progress.values()):
            await progress.batches.flush()

    async def _handle_page_marker(self, delivery: Delivery) -> None:
        """Handle the begin or end message of a page."""
        try:
            page = HistoryPage.model_validate_json(delivery.body)
        except ValidationError as error:
            log.error("%s: an invalid history message was dropped: %s", self.name, error)  # noqa: TRY400
        else:
            await self._outages.until_up(self._generations.refresh)
            hosted = self._building(page.generation)
            if hosted is not None:
                await (self._begin_page if page.place == "begin" else self._end_page)(hosted, page)
        await self._consumer.acknowledge([delivery])

    async def _begin_page(self, hosted: HostedGeneration, page: HistoryPage) -> None:
        generation = hosted.generation
        next_cursor = self._progress_of(hosted).pages.begin(page, (generation.cursor_stream, generation.cursor_version))
        if next_cursor is not None:
            await self._request_page(hosted, next_cursor)

    async def _end_page(self, hosted: HostedGeneration, page: HistoryPage) -> None:
        progress = self._progress_of(hosted)
        scanned = progress.pages.end(page)
        if scanned is not None:
            await progress.batches.end_page(partial(self._record_page, hosted, progress, scanned))

    async def _record_page(self, hosted: HostedGeneration, progress: RebuildProgress, scanned: AppliedPage) -> None:
        """Move the registry's cursor: all of the page is applied."""
        reached(Failpoint.BEFORE_SCANNED)
        if not await self._outages.until_up(partial(self._generations.registry.scanned, hosted.number, scanned)):
            progress.pages.reset()  # the cursor is elsewhere: another process has moved it
        await self._outages.until_up(self._generations.refresh)
        if scanned.done:
            log.info("%s: generation %d has all of history", self.name, hosted.number)
            await self._request_heads(hosted)

    async def _maintain(self) -> None:
        """Once per MAINTAIN_EVERY_S: request history again for stalled rebuilds, and finish those that are complete."""
        now = _now()
        if now - self._maintained_at < MAINTAIN_EVERY_S:
            return
        self._maintained_at = now
        building = [
            hosted for hosted in self._generations if not hosted.is_ready and hosted.generation.moving_to is None
        ]
        known = {_key(hosted) for hosted in building}
        for key in self._progress.keys() - known:
            await self._progress.pop(key).batches.close()
        for hosted in building:
            progress, generation = self._progress_of(hosted), hosted.generation
            progress.observe(generation.updated_at, now)
            if generation.done and len(generation.settled) >= self._options.lanes:
                if progress.finish_is_due(now) and not await self._finish(hosted) and progress.is_stalled(now):
                    # Heads leave out a stream that changes while they are read: what waits for history is requested now.
                    progress.unchanged_since = now
                    await self._request_heads(hosted, range(self._options.lanes))
            elif generation.updated_at == generation.begun_at or progress.is_stalled(now):
                progress.unchanged_since = now
                await self._resume(hosted, progress)

    async def _resume(self, hosted: HostedGeneration, progress: RebuildProgress) -> None:
        generation = hosted.generation
        if not await self._outages.until_up(partial(self._generations.registry.claim, generation)):
            return
        progress.pages.reset()
        if generation.done:
            await self._request_heads(hosted)
        else:
            position = generation.cursor_stream or "nothing"
            log.info("%s requests history after %s for generation %d", self.name, position, generation.number)
            await self._request_page(
                hosted, (generation.cursor_stream, generation.cursor_version), count=generation.total is None
            )

    async def _finish(self, hosted: HostedGeneration) -> bool:
        """False: some streams have a gap."""
        held = await self._generations.run_step(hosted, hosted.store.held_by_status)
        if held is not None and not held[HoldStatus.GAP]:
            complete = partial(hosted.store.complete, self._live_priority.wait_for_turn)
            await self._generations.run_step(hosted, complete, takes_long=True)
            await self._outages.until_up(partial(self._generations.registry.ready, hosted.number))
            await self._outages.until_up(self._generations.refresh)
            log.info("%s: generation %d is ready", self.name, hosted.number)
            return True
        return False

    async def _request_page(self, hosted: HostedGeneration, after: Cursor, *, count: bool = False) -> None:
        """Request the next page. ``count``: also the number of events, for which the command service reads every stream."""
        generation = hosted.generation
        limit = page_size(generation.rate)
        request = history_request(self.name, generation.number, after, limit, count=count, kinds=hosted.kinds)
        await self._publisher.publish_all([request], sleep=self._outages.pause)

    async def _request_heads(self, hosted: HostedGeneration, lanes: Sequence[int] = ()) -> None:
        """``lanes``: by default those of which no heads have been compared."""
        generation = hosted.generation
        lanes = lanes or [lane for lane in range(self._options.lanes) if lane not in generation.settled]
        requests = [
            heads_request(self.name, lane, generation.reads_since, generation=generation.number) for lane in lanes
        ]
        await self._publisher.publish_all([request for _, request in requests], sleep=self._outages.pause)

    def _max_running(self) -> int:
        return MAX_BESIDE_LIVE if self._live_priority.is_live_recent(_now()) else self._max_batches

    def _building(self, number: int) -> HostedGeneration | None:
        hosted = self._generations.get(number)
        if hosted is None or hosted.is_ready or hosted.generation.done or hosted.generation.moving_to is not None:
            return None
        return hosted

    def _progress_of(self, hosted: HostedGeneration) -> RebuildProgress:
        progress = self._progress.get(_key(hosted))
        if progress is None:

            async def apply(batch: Sequence[ArrivedEvent], *, size: int, deadly: bool) -> None:
                await self._apply(hosted, self._progress_of(hosted), batch, size=size, deadly=deadly)

            progress = self._progress[_key(hosted)] = RebuildProgress(
                HistoryBatches(apply, self._consumer.acknowledge, limit=self._max_running)
            )
        return progress


def _key(hosted: HostedGeneration) -> tuple[int, datetime]:
    return hosted.number, hosted.generation.begun_at


def _generation_of(delivery: Delivery) -> int:
    number = delivery.headers.get(topology.GENERATION_HEADER)
    return number if isinstance(number, int) else 0


def _is_of_page(progress: RebuildProgress, delivery: Delivery) -> bool:
    asked, events = delivery.headers.get(topology.PAGE_HEADER), delivery.headers.get(topology.EVENTS_HEADER)
    return isinstance(asked, str) and isinstance(events, int) and progress.pages.accepts(asked, events)


def _now() -> float:
    return asyncio.get_running_loop().time()
