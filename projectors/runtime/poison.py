"""Makes a projection fail, for tests and drills only: ``TIDEMARK_POISON`` names the streams whose events it cannot apply.

    TIDEMARK_POISON=summary:1/100            one stream in a hundred (by CRC-32 of its name), in the summary
    TIDEMARK_POISON=search:orders/o-17       this stream; several, separated by spaces
    TIDEMARK_POISON=search:kill:orders/o-17  the same, but the event kills the process

The failure is handled as any other. Without the setting the store is unchanged.
"""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Final
from zlib import crc32

from projectors.stores.port import Commit, Event, HoldStatus, Position, ProjectionError, Store, Turn
from shared.runtime.settings import Settings

KILL_PREFIX: Final = "kill:"
EXIT_CODE: Final = 70


class DrillError(RuntimeError):
    """Raised for a poisoned stream; the drill's dead letters show it."""


def with_poison(projector: str, store: Store, settings: Settings) -> Store:
    name, _, rule = settings.poison.partition(":")
    if name != projector or not rule:
        return store
    deadly = rule.startswith(KILL_PREFIX)
    return PoisonedStore(store, _stream_filter(rule.removeprefix(KILL_PREFIX)), deadly=deadly)


class PoisonedStore:
    """A store that cannot apply the chosen streams' events."""

    def __init__(self, store: Store, chosen: Callable[[str], bool], *, deadly: bool = False) -> None:
        self._store = store
        self._chosen = chosen
        self._kills = deadly

    async def commit(self, commit: Commit) -> None:
        failures: list[tuple[Event, BaseException]] = [
            (advance.events[0], DrillError("this stream is poisoned for a drill"))
            for advance in commit.advances
            if advance.events and self._chosen(advance.stream)
        ]
        if failures and self._kills:
            os._exit(EXIT_CODE)
        if failures:
            (event, cause), *others = failures
            raise ProjectionError(event, *others) from cause
        await self._store.commit(commit)

    async def open(self) -> None:
        await self._store.open()

    async def close(self) -> None:
        await self._store.close()

    async def positions(self, streams: Sequence[str]) -> dict[str, Position]:
        return await self._store.positions(streams)

    async def behind(self, heads: Mapping[str, int]) -> dict[str, Position]:
        return await self._store.behind(heads)

    async def as_of(self) -> dict[int, datetime | None]:
        return await self._store.as_of()

    async def overdue(self, now: datetime, limit: int) -> Sequence[tuple[str, int]]:
        return await self._store.overdue(now, limit)

    async def unreported(self, now: datetime, limit: int) -> Sequence[tuple[str, int]]:
        return await self._store.unreported(now, limit)

    async def held_by_status(self) -> Mapping[HoldStatus, int]:
        return await self._store.held_by_status()

    async def release_others(self, kinds: Collection[str]) -> None:
        await self._store.release_others(kinds)

    async def complete(self, turn: Turn) -> None:
        await self._store.complete(turn)

    async def positions_page(self, cursor: str, limit: int) -> tuple[str, Sequence[tuple[str, int]]]:
        return await self._store.positions_page(cursor, limit)

    async def discards(self, after: tuple[str, int], limit: int) -> Sequence[tuple[str, int]]:
        return await self._store.discards(after, limit)


def _stream_filter(rule: str) -> Callable[[str], bool]:
    part, slash, whole = rule.partition("/")
    if slash and part.isdigit() and whole.isdigit() and int(whole) > 0:
        return lambda stream: crc32(stream.encode()) % int(whole) < int(part)
    streams = frozenset(rule.split())
    return lambda stream: stream in streams
