"""History in portions: while the store writes one, the next is decoded and folded.

    messages ──decode──▶ items ──cut where a stream begins──▶ a portion ──commit──▶ acknowledge
                                          └──▶ the rest begins the next portion

The promise: portions under way at the same time have no stream in common, so that neither finds a hole that the other is about to fill;
and a message is acknowledged only when all its events are in. Events come in the order of streams: only a portion's last one can go on
in the next.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final, Protocol

from projectors.runtime.consumer import DEADLY_AFTER
from projectors.runtime.decoding import Arrived
from shared.messaging.consuming import Delivery

UNDER_WAY: Final = 3
BESIDE_LIVE: Final = 2
"""Live events wait for what is under way: one with the store, one on its way there, and each may be the longer for that."""
MOST_AT_ONCE: Final = 2000
"""Events of a single stream that wait for its end; a longer one goes in parts, one after another."""


class Apply(Protocol):
    async def __call__(self, portion: Sequence[Arrived], *, size: int, deadly: bool) -> None:
        """Commit it. ``size``: bytes of its messages. ``deadly``: some of them may have killed the process before."""


Acknowledge = Callable[[Sequence[Delivery]], Awaitable[None]]


class HistoryBatches:
    """Of one generation. Whatever ``apply`` or ``acknowledge`` raises comes out of a later call."""

    def __init__(self, apply: Apply, acknowledge: Acknowledge, *, most: Callable[[], int] = lambda: UNDER_WAY) -> None:
        """``most``: how many portions may be under way now, where another is to be begun."""
        self._most = most
        self._apply = apply
        self._acknowledge = acknowledge
        self._rest: list[Arrived] = []
        self._rest_of: list[Delivery] = []
        """The messages that the rest is from."""
        self._under_way: set[asyncio.Task[None]] = set()
        self._last: str | None = None
        """The last stream of the portion that was begun last."""
        self._ending: asyncio.Task[None] | None = None

    async def add(self, messages: Sequence[tuple[Delivery, Sequence[Arrived]]]) -> None:
        """Returns when there is room for more."""
        items = [*self._rest, *(item for _, arrived in messages for item in arrived)]
        deliveries = [*self._rest_of, *(delivery for delivery, _ in messages)]
        cut = _start_of_last_stream(items)
        if cut == 0:
            self._rest, self._rest_of = items, deliveries
            if len(items) >= MOST_AT_ONCE:
                await self.flush()
            return
        self._rest, kept = items[cut:], _messages_of(len(items) - cut, messages)
        self._rest_of = deliveries[len(deliveries) - kept :]
        await self._begin(items[:cut], deliveries[: len(deliveries) - kept])

    async def end(self, then: Callable[[], Awaitable[None]]) -> None:
        """Call ``then`` when everything that has come so far is in. Returns before: what comes next need not wait for it."""
        await self._begin_rest()
        if self._ending is not None:
            await self._ending
        self._ending = asyncio.create_task(_after(set(self._under_way), then))

    async def flush(self) -> None:
        """Returns when everything is in and acknowledged."""
        await self._begin_rest()
        while self._under_way:
            await self._one_ends()
        if self._ending is not None:
            await self._ending
            self._ending = None

    async def close(self) -> None:
        """What is under way ends, or is called off and comes again."""
        tasks = [*self._under_way, *([self._ending] if self._ending is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _begin_rest(self) -> None:
        items, deliveries, self._rest, self._rest_of = self._rest, self._rest_of, [], []
        if deliveries:
            await self._begin(items, deliveries)

    async def _begin(self, items: Sequence[Arrived], deliveries: Sequence[Delivery]) -> None:
        goes_on = bool(items) and items[0].event.stream == self._last
        while len(self._under_way) >= (1 if goes_on else self._most()):
            await self._one_ends()
        self._last = items[-1].event.stream if items else self._last
        self._under_way.add(asyncio.create_task(self._run(items, deliveries)))
        await asyncio.sleep(0)

    async def _run(self, items: Sequence[Arrived], deliveries: Sequence[Delivery]) -> None:
        deadly = any(delivery.deliveries >= DEADLY_AFTER for delivery in deliveries)
        await self._apply(items, size=sum(len(delivery.body) for delivery in deliveries), deadly=deadly)
        await self._acknowledge(deliveries)

    async def _one_ends(self) -> None:
        ended, self._under_way = await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()


async def _after(portions: Collection[asyncio.Task[None]], then: Callable[[], Awaitable[None]]) -> None:
    """Where one of the portions fails, that comes out of the portion itself."""
    outcomes = await asyncio.gather(*portions, return_exceptions=True)
    if not any(isinstance(outcome, BaseException) for outcome in outcomes):
        await then()


def _start_of_last_stream(items: Sequence[Arrived]) -> int:
    start = len(items)
    while start > 0 and items[start - 1].event.stream == items[-1].event.stream:
        start -= 1
    return start


def _messages_of(count: int, messages: Sequence[tuple[Delivery, Sequence[Arrived]]]) -> int:
    """How many of the last messages the last ``count`` items are from."""
    kept = 0
    for _, arrived in reversed(messages):
        if count <= 0:
            break
        count -= len(arrived)
        kept += 1
    return kept
