"""Requests that wait for their own writes continue as soon as the active generation has applied them, woken by change messages.

    register ──▶ load positions ──▶ applied? ──yes──▶ read that generation
                   ▲                  └─no──▶ wait ──change message: that generation, version ≥ wanted──▶ read it
                   │                            ├──a hold, messages resume, another generation, or 1 s has passed──┐
                   └────────────────────────────┴──────────────────────────────────────────────────────────────────┘

A waiter is registered before positions are loaded, so a commit is either loaded or announced to it. Change messages may be lost:
therefore positions are also loaded once a second, for all waiters together. A stream held by a dead letter does not advance without
an operator, so its waiters fail at once. All versions of a request are met in the same generation, and that generation is read.
"""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from query_service.consistency.position_loader import PositionLoader, Positions
from query_service.http.problems import StoreDownError
from query_service.stores.active_generation import ActiveGeneration
from query_service.stores.port import StreamPosition

BACKSTOP_S: Final = 1.0

Wanted = Mapping[str, int]
"""Stream → the minimum version."""


@dataclass(frozen=True, slots=True)
class Reached:
    """The generation that has applied all requested versions."""

    generation: int


@dataclass(frozen=True, slots=True)
class NotReached:
    """The first stream below its requested version, and its position."""

    stream: str
    wanted: int
    position: StreamPosition

    @property
    def held_by_dead_letter(self) -> bool:
        return self.position.hold is not None and self.position.hold.dead


@dataclass(eq=False, slots=True)
class _Waiter:
    wanted: Wanted
    done: asyncio.Future[Reached | None]
    """None: load the positions again."""
    missing: dict[str, int] = field(default_factory=dict)
    error: StoreDownError | None = None

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start a new wait. Earlier changes are visible to the load that follows."""
        self.done = loop.create_future()
        self.missing = dict(self.wanted)

    def handle_version(self, generation: int, stream: str, applied: int) -> None:
        wanted = self.missing.get(stream)
        if wanted is not None and applied >= wanted:
            del self.missing[stream]
            if not self.missing:
                self.wake(Reached(generation))

    def wake(self, reached: Reached | None = None) -> None:
        if not self.done.done():
            self.done.set_result(reached)


class PositionWaiters:
    """The requests that wait for one projection."""

    def __init__(self, active: ActiveGeneration[Any]) -> None:
        self._loader = PositionLoader(active)
        self._active = active
        self._generation = active.pointer.number
        """The generation whose change messages count: the one whose positions were loaded last."""
        self._by_stream: dict[str, set[_Waiter]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._backstop: asyncio.Task[None] | None = None
        self._ended = False

    @property
    def streams(self) -> int:
        """The number of streams with waiters."""
        return len(self._by_stream)

    async def until(self, wanted: Wanted, seconds: float) -> Reached | NotReached:
        """Wait up to ``seconds`` for these versions. Raises StoreDownError, also if the store becomes unavailable meanwhile."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        waiter = _Waiter(wanted, loop.create_future())
        self._register(waiter)
        try:
            while True:
                waiter.begin(loop)
                now = await self._load(wanted)
                if isinstance(now, Reached) or now.held_by_dead_letter or self._ended or loop.time() >= deadline:
                    return now
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(deadline):
                        if reached := await waiter.done:
                            return reached
                if waiter.error is not None:
                    raise waiter.error
        finally:
            self._unregister(waiter)

    def advanced(
        self, generation: int, streams: Iterable[tuple[str, int]], held: Iterable[tuple[str, int]] = ()
    ) -> None:
        """Handle a change message: the generation has applied these versions, and now holds others."""
        if generation != self._generation or not self._by_stream:
            return
        for stream, version in streams:
            for waiter in tuple(self._by_stream.get(stream, ())):
                waiter.handle_version(generation, stream, version)
        if newly_held := [stream for stream, _ in held if stream in self._by_stream]:
            self._start_reload(newly_held)

    def reload_positions(self) -> None:
        """Load the positions of all awaited streams: change messages may have been missed, or another generation be active."""
        if self._by_stream:
            self._start_reload(list(self._by_stream))

    def end(self) -> None:
        """The process stops: answer all waiters now, from the current positions."""
        self._ended = True
        for waiter in {waiter for waiters in self._by_stream.values() for waiter in waiters}:
            waiter.wake()

    async def _load(self, wanted: Wanted) -> Reached | NotReached:
        generation, positions = await self._loader.load(wanted)
        self._handle_positions(generation, positions)
        for stream, version in wanted.items():
            position = positions.get(stream, StreamPosition())
            if position.applied < version:
                return NotReached(stream, version, position)
        return Reached(generation)

    def _start_reload(self, streams: list[str]) -> None:
        task = asyncio.create_task(self._reload(streams))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reload(self, streams: list[str]) -> None:
        try:
            generation, positions = await self._loader.load(streams)
        except StoreDownError as error:
            for stream in streams:
                for waiter in self._by_stream.get(stream, ()):
                    waiter.error = error
                    waiter.wake()
        else:
            self._handle_positions(generation, positions)

    def _handle_positions(self, generation: int, positions: Positions) -> None:
        if generation != self._generation:
            self._generation = generation
            for waiters in self._by_stream.values():
                for waiter in waiters:
                    waiter.missing = dict(waiter.wanted)
            self.reload_positions()  # this generation may have advanced while messages of the other counted
        for stream, position in positions.items():
            for waiter in tuple(self._by_stream.get(stream, ())):
                waiter.handle_version(generation, stream, position.applied)
                if stream in waiter.missing and position.hold is not None and position.hold.dead:
                    waiter.wake()

    def _register(self, waiter: _Waiter) -> None:
        for stream in waiter.wanted:
            self._by_stream.setdefault(stream, set()).add(waiter)
        if self._backstop is None:
            self._backstop = asyncio.create_task(self._reload_periodically())

    def _unregister(self, waiter: _Waiter) -> None:
        for stream in waiter.wanted:
            waiters = self._by_stream[stream]
            waiters.discard(waiter)
            if not waiters:
                del self._by_stream[stream]

    async def _reload_periodically(self) -> None:
        """Load positions once per BACKSTOP_S as long as there are waiters."""
        try:
            while self._by_stream:
                await asyncio.sleep(BACKSTOP_S)
                if self._by_stream:
                    await self._reload(list(self._by_stream))
        finally:
            self._backstop = None
