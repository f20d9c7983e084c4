"""Something read from a store and remembered for a while: concurrent readers share one reading.

The time counts from when the reading began, so what is given out is never older than that. An error reaches everyone who
waits for the reading, and is not remembered.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlightCache(Generic[T]):
    def __init__(
        self, read: Callable[[], Awaitable[T]], seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._seconds = seconds
        self._clock = clock
        self._known: list[T] = []
        self._good_until = float("-inf")
        self._reading: asyncio.Task[T] | None = None
        self._overtaken: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """What is known, or what is read now. Raises what ``read`` raises."""
        if self._known and self._clock() < self._good_until:
            return self._known[0]
        if self._reading is None:
            self._reading = asyncio.create_task(self._refresh(self._overtaken))
            self._reading.add_done_callback(self._done)
        # Shielded: a client that hangs up must not take the reading away from the others.
        return await asyncio.shield(self._reading)

    def forget(self) -> None:
        """Whoever asks from now on gets what is read from now on: a reading under way may have come too early.

        Readings follow one another all the same: what they do besides is done in order.
        """
        self._good_until = float("-inf")
        self._overtaken, self._reading = self._reading or self._overtaken, None

    async def _refresh(self, overtaken: asyncio.Task[T] | None) -> T:
        mine = asyncio.current_task()
        if overtaken is not None:
            await asyncio.wait([overtaken])
        began = self._clock()
        found = await self._read()
        if self._reading is mine:
            self._known = [found]
            self._good_until = began + self._seconds
        return found

    def _done(self, reading: asyncio.Task[T]) -> None:
        if self._reading is reading:
            self._reading = None
        if self._overtaken is reading:
            self._overtaken = None
        if not reading.cancelled():
            reading.exception()  # seen by those who wait, if any still do
