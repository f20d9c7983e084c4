"""Loads stream positions: one statement at a time for all concurrent callers.

A load starts after it was requested, never before. So a caller that first registers for change messages and then loads positions
misses no change.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final

from query_service.http.problems import GenerationGoneError
from query_service.stores.active_generation import ActiveGeneration
from query_service.stores.port import StreamPosition

MAX_PER_STATEMENT: Final = 1000
"""Maximum number of streams in one statement."""
MAX_ATTEMPTS: Final = 3

Positions = Mapping[str, StreamPosition]


class PositionLoader:
    """Loads positions from one projection's active generation. ``load`` raises StoreDownError."""

    def __init__(self, active: ActiveGeneration[Any]) -> None:
        self._active = active
        self._requested: set[str] = set()
        self._next: asyncio.Task[tuple[int, Positions]] | None = None
        """The load that has not started: new callers join it."""
        self._running: asyncio.Task[tuple[int, Positions]] | None = None

    async def load(self, streams: Iterable[str]) -> tuple[int, Positions]:
        """The number of the generation that was read, and the positions of these streams, and possibly others, in it."""
        self._requested.update(streams)
        if self._next is None:
            self._next = asyncio.create_task(self._run_after(self._running))
            self._next.add_done_callback(_retrieve_exception)
        # Shielded: a client that disconnects must not cancel the load for the others.
        return await asyncio.shield(self._next)

    async def _run_after(self, running: asyncio.Task[tuple[int, Positions]] | None) -> tuple[int, Positions]:
        if running is not None:
            await asyncio.wait([running])
        self._running, self._next = self._next, None
        requested, self._requested = self._requested, set()
        for _ in range(MAX_ATTEMPTS - 1):
            try:
                return await self._read(requested)
            except GenerationGoneError as gone:
                if not await self._active.moved_on_from(gone):
                    raise
        return await self._read(requested)

    async def _read(self, requested: Iterable[str]) -> tuple[int, Positions]:
        store = await self._active.store()
        streams = list(requested)
        positions: dict[str, StreamPosition] = {}
        for start in range(0, len(streams), MAX_PER_STATEMENT):
            positions |= await store.positions(streams[start : start + MAX_PER_STATEMENT])
        return store.number, positions


def _retrieve_exception(load: asyncio.Task[Any]) -> None:
    if not load.cancelled():
        load.exception()
