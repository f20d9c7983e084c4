"""Looking where streams stand: one statement at a time for all who want to know, however many they are.

A look that is asked for begins after the asking, never before: so whoever first makes himself known to the news, and then
looks, misses nothing.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final

from query_service.http.problems import GenerationGoneError
from query_service.stores.active_generation import ActiveGeneration
from query_service.stores.port import StreamPosition

AT_ONCE: Final = 1000
"""Streams in one statement."""
TRIES: Final = 3

Standings = Mapping[str, StreamPosition]


class PositionLoader:
    """Looks at one projection's active generation. ``look`` raises StoreDownError."""

    def __init__(self, active: ActiveGeneration[Any]) -> None:
        self._active = active
        self._wanted: set[str] = set()
        self._coming: asyncio.Task[tuple[int, Standings]] | None = None
        """The look that has not begun: whoever asks takes part in it."""
        self._going: asyncio.Task[tuple[int, Standings]] | None = None

    async def look(self, streams: Iterable[str]) -> tuple[int, Standings]:
        """The number of the generation looked at, and where these streams, and maybe others, stand in it."""
        self._wanted.update(streams)
        if self._coming is None:
            self._coming = asyncio.create_task(self._after(self._going))
            self._coming.add_done_callback(_seen)
        # Shielded: a client that hangs up must not take the look away from the others.
        return await asyncio.shield(self._coming)

    async def _after(self, going: asyncio.Task[tuple[int, Standings]] | None) -> tuple[int, Standings]:
        if going is not None:
            await asyncio.wait([going])
        self._going, self._coming = self._coming, None
        wanted, self._wanted = self._wanted, set()
        for _ in range(TRIES - 1):
            try:
                return await self._looked(wanted)
            except GenerationGoneError as gone:
                if not await self._active.moved_on_from(gone):
                    raise
        return await self._looked(wanted)

    async def _looked(self, wanted: Iterable[str]) -> tuple[int, Standings]:
        store = await self._active.store()
        streams = list(wanted)
        found: dict[str, StreamPosition] = {}
        for start in range(0, len(streams), AT_ONCE):
            found |= await store.standings(streams[start : start + AT_ONCE])
        return store.number, found


def _seen(look: asyncio.Task[Any]) -> None:
    if not look.cancelled():
        look.exception()
