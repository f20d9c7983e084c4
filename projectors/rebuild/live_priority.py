"""Gives live events priority: no history batch starts while live events are being applied, for at most MAX_WAIT_S.

Running batches continue, so live events wait for them once, and not again at each of their own steps.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

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
