"""Caches a value read from a store for a limited time; concurrent callers share one read.

The time counts from the start of the read, so a cached value is never older than that. An error is raised in all callers that wait for
the read, and is not cached.
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
        self._cached: list[T] = []
        self._fresh_until = float("-inf")
        self._reading: asyncio.Task[T] | None = None
        self._superseded: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """The cached value, or else a new read. Raises what ``read`` raises."""
        if self._cached and self._clock() < self._fresh_until:
            return self._cached[0]
        if self._reading is None:
            self._reading = asyncio.create_task(self._refresh(self._superseded))
            self._reading.add_done_callback(self._done)
        # Shielded: a client that disconnects must not cancel the read for the others.
        return await asyncio.shield(self._reading)

    def forget(self) -> None:
        """Calls from now on get a value read from now on: a read in progress may have started too early.

        Reads still run one after another, so that their side effects happen in order.
        """
        self._fresh_until = float("-inf")
        self._superseded, self._reading = self._reading or self._superseded, None

    async def _refresh(self, superseded: asyncio.Task[T] | None) -> T:
        this_read = asyncio.current_task()
        if superseded is not None:
            await asyncio.wait([superseded])
        began = self._clock()
        found = await self._read()
        if self._reading is this_read:
            self._cached = [found]
            self._fresh_until = began + self._seconds
        return found

    def _done(self, reading: asyncio.Task[T]) -> None:
        if self._reading is reading:
            self._reading = None
        if self._superseded is reading:
            self._superseded = None
        if not reading.cancelled():
            reading.exception()  # retrieved here, so that asyncio does not log it if no caller waits any more
