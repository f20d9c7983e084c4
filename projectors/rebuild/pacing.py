"""How fast history may be applied beside live events: the size of its batches, and when one may start.

``BatchSizer`` is pure. A live event waits for the running batches, so they must be short; but each batch has a fixed cost, so they should
not be shorter than necessary. The duration depends on the machine and its load, and is measured for each batch: per byte, because an
order with ten lines costs many times as much as a customer, and orders directly follow customers.

``LivePriority`` starts no batch while live events are being applied, for at most MAX_WAIT_S. Running batches continue, so live events wait
for them once, and not again at each of their own steps.
"""

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

MAX_MESSAGES: Final = 10
"""Messages, of up to 100 events each, in one batch while no live events arrive."""
BATCH_TARGET_S: Final = 0.2
INITIAL_BYTES: Final = 20_000
"""Bytes assumed to take the target time, until the first batch is measured."""
SLOWER_WEIGHT: Final = 0.5
FASTER_WEIGHT: Final = 0.2
"""The weight of the latest measurement: batches shrink quickly and grow slowly."""


class BatchSizer:
    """``target_s``: the time that a batch may take beside live events, in seconds."""

    def __init__(self, target_s: float = BATCH_TARGET_S) -> None:
        self._target_s = target_s
        self._seconds_per_byte = target_s / INITIAL_BYTES

    def record(self, size: int, seconds: float) -> None:
        """Record a measurement: a batch with ``size`` bytes of messages was applied in ``seconds``, without waiting times."""
        if size:
            change = seconds / size - self._seconds_per_byte
            self._seconds_per_byte += (SLOWER_WEIGHT if change > 0 else FASTER_WEIGHT) * change

    def size(self, *, beside_live: bool) -> float:
        """Maximum bytes of messages for the next batch."""
        return self._target_s / max(self._seconds_per_byte, 1e-12) if beside_live else math.inf


MAX_WAIT_S: Final = 0.25
"""History continues after this time even if live events leave no gap."""

RECENT_S: Final = 2.0


class LivePriority:
    """Coordinates live events and history within one process. All times are from the same clock."""

    def __init__(self) -> None:
        self._live_arrived_at = float("-inf")
        self._live_idle = asyncio.Event()
        self._live_idle.set()

    def live_arrived(self, now: float) -> None:
        """Live events have arrived."""
        self._live_arrived_at = now

    def is_live_recent(self, now: float) -> bool:
        """Whether live events have arrived within the last RECENT_S."""
        return now - self._live_arrived_at < RECENT_S

    @contextmanager
    def applying_live(self) -> Iterator[None]:
        """Entered while live events are applied."""
        self._live_idle.clear()
        try:
            yield
        finally:
            self._live_idle.set()

    async def wait_for_turn(self) -> None:
        """Returns when history may continue."""
        try:
            async with asyncio.timeout(MAX_WAIT_S):
                await self._live_idle.wait()
        except TimeoutError:
            return
