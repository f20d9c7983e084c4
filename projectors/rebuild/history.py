"""History as it arrives: pages, which are tracked until they are complete, and batches, which are applied concurrently.

    begin(after, last) ──▶ its events … ──▶ end(events)      all three carry the id of the request that they answer

``HistoryPages`` is pure. The current page starts at the registry's cursor, or at the end of the previous page, to which the cursor will
move. A page that starts elsewhere was requested twice and is ignored. A page is complete only if as many events have arrived as its end
message states, so lost events are never skipped. The cursor does not move before, and an incomplete page is requested again.

    messages ──decode──▶ items ──cut at the start of the last stream──▶ a batch ──commit──▶ acknowledge
                                          └──▶ the remainder starts the next batch

``HistoryBatches``: while the store writes one batch, the next is decoded and folded. Batches that run at the same time have no stream in
common, so that no batch sees a gap that another is about to fill; and a message is acknowledged only after all its events are committed.
Events arrive ordered by stream, so only the last stream of a batch can continue in the next one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from projectors.generations.registry import AppliedPage
from projectors.runtime.consumer import ISOLATE_EVENTS_AFTER
from projectors.runtime.decoding import ArrivedEvent
from shared.messages.lanes import HistoryPage
from shared.messaging.consuming import Delivery

Cursor = tuple[str, int]


@dataclass(slots=True)
class Page:
    begin: HistoryPage
    received: int = 0

    @property
    def after(self) -> Cursor:
        return self.begin.after_stream, self.begin.after_version

    @property
    def last(self) -> Cursor:
        return self.begin.last_stream, self.begin.last_version


@dataclass(slots=True)
class HistoryPages:
    """The pages of one generation, as received by this process."""

    current: Page | None = None
    requested_after: Cursor | None = None
    """The start of the page after the current one, once it has been requested."""
    completed_to: Cursor | None = None
    """The end of the last complete page, to which the cursor moves once all of it is applied. None: the cursor itself."""

    def begin(self, page: HistoryPage, cursor: Cursor) -> Cursor | None:
        """Start this page. Returns the start of the next page to request now, so that it is read meanwhile; None: request nothing."""
        started = Page(page)
        if started.after != (self.completed_to or cursor):
            return None
        self.current = started
        if page.done or self.requested_after == started.last:
            return None
        self.requested_after = started.last
        return started.last

    def accepts(self, asked: str, events: int) -> bool:
        """Whether these events, which answer the request ``asked``, belong to the current page; if so, they are counted."""
        if self.current is None or self.current.begin.asked != asked:
            return False
        self.current.received += events
        return True

    def end(self, page: HistoryPage) -> AppliedPage | None:
        """End this page. Returns what is applied with it; None if it is not the current page, or incomplete."""
        ended = self.current
        if ended is None or ended.begin.asked != page.asked:
            return None
        self.current = None
        if ended.received != page.events:
            self.requested_after = None
            return None
        self.completed_to = ended.last
        return AppliedPage(ended.after, ended.last, page.events, page.total, ended.begin.time, page.done)

    def reset(self) -> None:
        """History is requested again from the cursor. Answers to older requests may arrive twice, which is harmless."""
        self.requested_after = self.completed_to = None


MAX_RUNNING: Final = 3
MAX_BESIDE_LIVE: Final = 2
"""Live events wait for the running batches. Two suffice, one in the store and one being prepared; fewer batches may be longer."""
MAX_STREAM_EVENTS: Final = 2000
"""Events of one stream that are buffered until its end; a longer stream is applied in several batches, one after another."""


class Apply(Protocol):
    async def __call__(self, batch: Sequence[ArrivedEvent], *, size: int, deadly: bool) -> None:
        """Commit the batch. ``size``: bytes of its messages. ``deadly``: one of them may have killed the process before."""


Acknowledge = Callable[[Sequence[Delivery]], Awaitable[None]]


class HistoryBatches:
    """The batches of one generation. Exceptions of ``apply`` and ``acknowledge`` are raised by a later call."""

    def __init__(
        self, apply: Apply, acknowledge: Acknowledge, *, limit: Callable[[], int] = lambda: MAX_RUNNING
    ) -> None:
        """``limit``: returns how many batches may run now, called before another is started."""
        self._limit = limit
        self._apply = apply
        self._acknowledge = acknowledge
        self._remainder: list[ArrivedEvent] = []
        self._remainder_deliveries: list[Delivery] = []
        """The messages that contain the remainder."""
        self._running: set[asyncio.Task[None]] = set()
        self._last_stream: str | None = None
        """The last stream of the batch that was started last."""
        self._page_end: asyncio.Task[None] | None = None

    async def add(self, messages: Sequence[tuple[Delivery, Sequence[ArrivedEvent]]]) -> None:
        """Add messages. Returns when there is room for more."""
        items = [*self._remainder, *(item for _, arrived in messages for item in arrived)]
        deliveries = [*self._remainder_deliveries, *(delivery for delivery, _ in messages)]
        cut = _start_of_last_stream(items)
        if cut == 0:
            self._remainder, self._remainder_deliveries = items, deliveries
            if len(items) >= MAX_STREAM_EVENTS:
                await self.flush()
            return
        self._remainder, remaining = items[cut:], _messages_of(len(items) - cut, messages)
        self._remainder_deliveries = deliveries[len(deliveries) - remaining :]
        await self._start(items[:cut], deliveries[: len(deliveries) - remaining])

    async def end_page(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Call ``callback`` when everything added so far is committed. Returns before that, so that the next page need not wait."""
        await self._start_remainder()
        if self._page_end is not None:
            await self._page_end
        self._page_end = asyncio.create_task(_call_after(set(self._running), callback))

    async def flush(self) -> None:
        """Returns when everything added is committed and acknowledged."""
        await self._start_remainder()
        while self._running:
            await self._wait_for_one()
        if self._page_end is not None:
            await self._page_end
            self._page_end = None

    async def close(self) -> None:
        """Cancel the running batches; their messages are redelivered."""
        tasks = [*self._running, *([self._page_end] if self._page_end is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _start_remainder(self) -> None:
        items, deliveries, self._remainder, self._remainder_deliveries = (
            self._remainder,
            self._remainder_deliveries,
            [],
            [],
        )
        if deliveries:
            await self._start(items, deliveries)

    async def _start(self, items: Sequence[ArrivedEvent], deliveries: Sequence[Delivery]) -> None:
        continues = bool(items) and items[0].event.stream == self._last_stream
        while len(self._running) >= (1 if continues else self._limit()):
            await self._wait_for_one()
        self._last_stream = items[-1].event.stream if items else self._last_stream
        self._running.add(asyncio.create_task(self._run(items, deliveries)))
        await asyncio.sleep(0)

    async def _run(self, items: Sequence[ArrivedEvent], deliveries: Sequence[Delivery]) -> None:
        deadly = any(delivery.deliveries >= ISOLATE_EVENTS_AFTER for delivery in deliveries)
        await self._apply(items, size=sum(len(delivery.body) for delivery in deliveries), deadly=deadly)
        await self._acknowledge(deliveries)

    async def _wait_for_one(self) -> None:
        finished, self._running = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
        for task in finished:
            task.result()


async def _call_after(batches: Collection[asyncio.Task[None]], callback: Callable[[], Awaitable[None]]) -> None:
    """Call ``callback`` after these batches, unless one fails; its exception is raised by ``HistoryBatches``."""
    outcomes = await asyncio.gather(*batches, return_exceptions=True)
    if not any(isinstance(outcome, BaseException) for outcome in outcomes):
        await callback()


def _start_of_last_stream(items: Sequence[ArrivedEvent]) -> int:
    start = len(items)
    while start > 0 and items[start - 1].event.stream == items[-1].event.stream:
        start -= 1
    return start


def _messages_of(count: int, messages: Sequence[tuple[Delivery, Sequence[ArrivedEvent]]]) -> int:
    """The number of last messages that contain the last ``count`` items."""
    remaining = 0
    for _, arrived in reversed(messages):
        if count <= 0:
            break
        count -= len(arrived)
        remaining += 1
    return remaining
