"""Those who wait to read their own writes: answered as soon as the active generation has applied them, woken by news.

    register ──▶ look ──▶ there? ──yes──▶ read that generation
                   ▲        └─no──▶ wait ──news of that generation, version ≥ wanted──▶ read it
                   │                  ├──news of a hold, news are back, another generation, a second has passed──┐
                   └──────────────────┴─────────────────────────────────────────────────────────────────────────┘

Who waits is registered before he looks, so what is committed is either seen or told. News may be lost: hence the looks in
between, one for all who wait. A stream held by a dead letter will not come by itself: who waits for it is told at once.
All versions of a request are met in one and the same generation, and that one is read.
"""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from query_service.consistency.position_loader import PositionLoader, Standings
from query_service.http.problems import StoreDownError
from query_service.stores.active_generation import ActiveGeneration
from query_service.stores.port import StreamPosition

BACKSTOP_S: Final = 1.0

Wanted = Mapping[str, int]
"""Stream → the least version of it."""


@dataclass(frozen=True, slots=True)
class Reached:
    """The generation that has all that was wanted."""

    generation: int


@dataclass(frozen=True, slots=True)
class NotReached:
    """The first stream that is not there, and where it stands."""

    stream: str
    wanted: int
    standing: StreamPosition

    @property
    def hopeless(self) -> bool:
        return self.standing.hold is not None and self.standing.hold.dead


@dataclass(eq=False, slots=True)
class _Waiter:
    wanted: Wanted
    done: asyncio.Future[Reached | None]
    """None: something has happened that a look will show."""
    missing: dict[str, int] = field(default_factory=dict)
    trouble: StoreDownError | None = None

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """What came before, the look that follows will show."""
        self.done = loop.create_future()
        self.missing = dict(self.wanted)

    def heard(self, generation: int, stream: str, applied: int) -> None:
        wanted = self.missing.get(stream)
        if wanted is not None and applied >= wanted:
            del self.missing[stream]
            if not self.missing:
                self.wake(Reached(generation))

    def wake(self, met: Reached | None = None) -> None:
        if not self.done.done():
            self.done.set_result(met)


class PositionWaiters:
    """Those who wait for one projection."""

    def __init__(self, active: ActiveGeneration[Any]) -> None:
        self._looks = PositionLoader(active)
        self._active = active
        self._generation = active.pointer.number
        """The one that news count for: the one looked at last."""
        self._by_stream: dict[str, set[_Waiter]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._backstop: asyncio.Task[None] | None = None
        self._ended = False

    @property
    def streams(self) -> int:
        """How many streams are waited for."""
        return len(self._by_stream)

    async def until(self, wanted: Wanted, seconds: float) -> Reached | NotReached:
        """Wait up to so many seconds for these versions. Raises StoreDownError, also when the store goes down meanwhile."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        waiter = _Waiter(wanted, loop.create_future())
        self._register(waiter)
        try:
            while True:
                waiter.begin(loop)
                now = await self._look(wanted)
                if isinstance(now, Reached) or now.hopeless or self._ended or loop.time() >= deadline:
                    return now
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(deadline):
                        if met := await waiter.done:
                            return met
                if waiter.trouble is not None:
                    raise waiter.trouble
        finally:
            self._leave(waiter)

    def advanced(
        self, generation: int, streams: Iterable[tuple[str, int]], held: Iterable[tuple[str, int]] = ()
    ) -> None:
        """News: the generation has applied these versions, and come to hold others."""
        if generation != self._generation or not self._by_stream:
            return
        for stream, version in streams:
            for waiter in tuple(self._by_stream.get(stream, ())):
                waiter.heard(generation, stream, version)
        if again := [stream for stream, _ in held if stream in self._by_stream]:
            self._look_soon(again)

    def look_again(self) -> None:
        """News may have been missed, or another generation be active: see where all streams stand that are waited for."""
        if self._by_stream:
            self._look_soon(list(self._by_stream))

    def end(self) -> None:
        """The process stops: whoever waits is answered now, by where things stand."""
        self._ended = True
        for waiter in {waiter for waiters in self._by_stream.values() for waiter in waiters}:
            waiter.wake()

    async def _look(self, wanted: Wanted) -> Reached | NotReached:
        generation, standings = await self._looks.look(wanted)
        self._saw(generation, standings)
        for stream, version in wanted.items():
            standing = standings.get(stream, StreamPosition())
            if standing.applied < version:
                return NotReached(stream, version, standing)
        return Reached(generation)

    def _look_soon(self, streams: list[str]) -> None:
        task = asyncio.create_task(self._look_for_all(streams))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look_for_all(self, streams: list[str]) -> None:
        try:
            generation, standings = await self._looks.look(streams)
        except StoreDownError as error:
            for stream in streams:
                for waiter in self._by_stream.get(stream, ()):
                    waiter.trouble = error
                    waiter.wake()
        else:
            self._saw(generation, standings)

    def _saw(self, generation: int, standings: Standings) -> None:
        if generation != self._generation:
            self._generation = generation
            for waiters in self._by_stream.values():
                for waiter in waiters:
                    waiter.missing = dict(waiter.wanted)
            self.look_again()  # for what has come to this one while news of the other counted
        for stream, standing in standings.items():
            for waiter in tuple(self._by_stream.get(stream, ())):
                waiter.heard(generation, stream, standing.applied)
                if stream in waiter.missing and standing.hold is not None and standing.hold.dead:
                    waiter.wake()

    def _register(self, waiter: _Waiter) -> None:
        for stream in waiter.wanted:
            self._by_stream.setdefault(stream, set()).add(waiter)
        if self._backstop is None:
            self._backstop = asyncio.create_task(self._look_now_and_then())

    def _leave(self, waiter: _Waiter) -> None:
        for stream in waiter.wanted:
            waiters = self._by_stream[stream]
            waiters.discard(waiter)
            if not waiters:
                del self._by_stream[stream]

    async def _look_now_and_then(self) -> None:
        """As long as anybody waits."""
        try:
            while self._by_stream:
                await asyncio.sleep(BACKSTOP_S)
                if self._by_stream:
                    await self._look_for_all(list(self._by_stream))
        finally:
            self._backstop = None
