"""History in portions: while the store writes one, the next is decoded and folded.

    messages ──decode──▶ items ──cut where a stream begins──▶ a portion ──commit──▶ acknowledge
                                          └──▶ the rest begins the next portion

The promise: portions under way at the same time have no stream in common, so that neither finds a hole that the other is about to fill;
and a message is acknowledged only when all its events are in.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from projectors.consumer import DEADLY_AFTER
from projectors.decoding import Arrived
from shared.consuming import Delivery

UNDER_WAY: Final = 2
MOST_AT_ONCE: Final = 2000
"""Events of a single stream that wait for its end; a longer one goes in parts, one after another."""


class Apply(Protocol):
    async def __call__(self, portion: Sequence[Arrived], *, deadly: bool) -> None:
        """Commit it. ``deadly``: some of its messages may have killed the process before."""


Acknowledge = Callable[[Sequence[Delivery]], Awaitable[None]]


class Portions:
    """Of one generation. Whatever ``apply`` or ``acknowledge`` raises comes out of a later call."""

    def __init__(self, apply: Apply, acknowledge: Acknowledge) -> None:
        self._apply = apply
        self._acknowledge = acknowledge
        self._rest: list[Arrived] = []
        self._rest_of: list[Delivery] = []
        """The messages that the rest is from."""
        self._under_way: set[asyncio.Task[None]] = set()

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

    async def flush(self) -> None:
        """Returns when everything is in and acknowledged."""
        while self._under_way:
            await self._one_ends()
        items, deliveries, self._rest, self._rest_of = self._rest, self._rest_of, [], []
        if deliveries:
            await self._run(items, deliveries)

    async def close(self) -> None:
        """What is under way ends, or is called off and comes again."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _begin(self, items: Sequence[Arrived], deliveries: Sequence[Delivery]) -> None:
        while len(self._under_way) >= UNDER_WAY:
            await self._one_ends()
        self._under_way.add(asyncio.create_task(self._run(items, deliveries)))
        await asyncio.sleep(0)

    async def _run(self, items: Sequence[Arrived], deliveries: Sequence[Delivery]) -> None:
        deadly = any(delivery.deliveries >= DEADLY_AFTER for delivery in deliveries)
        await self._apply(items, deadly=deadly)
        await self._acknowledge(deliveries)

    async def _one_ends(self) -> None:
        ended, self._under_way = await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()


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
