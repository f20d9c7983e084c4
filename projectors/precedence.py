"""Live events first: history begins no portion while live events are being applied, for a moment.

What it has begun goes on, so live events wait for that once, and not again at each of their own steps.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

MOST_S: Final = 0.25
"""History comes to its turn all the same, where live events leave no gap."""


class Precedence:
    def __init__(self) -> None:
        self._nobody_at_work = asyncio.Event()
        self._nobody_at_work.set()

    @contextmanager
    def live(self) -> Iterator[None]:
        """While live events are applied."""
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
