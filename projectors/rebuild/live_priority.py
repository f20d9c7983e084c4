"""Live events first: history begins nothing while live events are being applied, for a moment, and goes in small steps beside them.

What it has begun goes on, so live events wait for that once, and not again at each of their own steps.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

MOST_S: Final = 0.25
"""History comes to its turn all the same, where live events leave no gap."""

LATELY_S: Final = 2.0


class LivePriority:
    """Times are those of one clock of this process."""

    def __init__(self) -> None:
        self._came_at = float("-inf")
        self._nobody_at_work = asyncio.Event()
        self._nobody_at_work.set()

    def came(self, now: float) -> None:
        """Live events have come."""
        self._came_at = now

    def lately(self, now: float) -> bool:
        """Whether any have come lately."""
        return now - self._came_at < LATELY_S

    @contextmanager
    def live(self) -> Iterator[None]:
        """While what came is applied."""
        self._nobody_at_work.clear()
        try:
            yield
        finally:
            self._nobody_at_work.set()

    async def history(self) -> None:
        """Returns when it is history's turn."""
        try:
            async with asyncio.timeout(MOST_S):
                await self._nobody_at_work.wait()
        except TimeoutError:
            return
