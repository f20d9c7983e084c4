"""Keeps answers that were costly to read, for a time in proportion to that cost; concurrent requests for one answer share one read.

What is kept is the answer as it was read, with its ``Tidemark-As-Of``: so it stays true, however long it is kept. An answer is kept
for KEPT_PER_COST times what its read took, at most LONGEST_S; one that took less than WORTH_S is not kept, because reading it again is
as cheap as looking after it. So reading one answer again and again takes up at most a KEPT_PER_COST-th of a connection's time.

It is dropped earlier when a change message names a stream that it was read from, when another generation becomes active, and, the least
recently used first, when more than ``capacity`` bytes are kept. Change messages may be lost: then it is kept to its time.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

WORTH_S: Final = 0.010
KEPT_PER_COST: Final = 10
LONGEST_S: Final = 10.0
CAPACITY: Final = 64 * 1024 * 1024
OVERHEAD: Final = 1024
"""Bytes that an answer takes beside its body: key, headers, entries. A little more than measured."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The content of a response, for several clients."""

    body: bytes
    media_type: Any
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Key:
    """``question``: everything that the answer depends on, beside the data."""

    projection: str
    generation: int
    question: Collection[str]


@dataclass(frozen=True, slots=True)
class _Kept:
    answer: Answer
    until: float
    streams: Collection[str]


@dataclass(frozen=True, slots=True)
class _Reading:
    task: asyncio.Task[Answer]
    streams: Collection[str]


class AnswerCache:
    def __init__(self, capacity: int = CAPACITY, clock: Callable[[], float] = time.monotonic) -> None:
        """``capacity``: in bytes; 0: nothing is kept or shared."""
        self.capacity = capacity
        self._clock = clock
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()
        self._size = 0
        self._reading: dict[Key, _Reading] = {}
        self._keys: dict[tuple[str, str], set[Key]] = {}
        """Projection and stream → the answers that are read from it, or being read."""

    @property
    def size(self) -> int:
        """The bytes of all answers that are kept."""
        return self._size

    async def get(self, key: Key, streams: Collection[str], read: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer that is kept or being read, or else a new one. Raises what ``read`` raises.

        ``streams``: drop the answer when one of them changes. ``read`` may run for other callers after this one was cancelled.
        """
        if not self.capacity:
            return await read()
        kept = self._kept.get(key)
        if kept is not None and self._clock() < kept.until:
            self._kept.move_to_end(key)
            return kept.answer
        reading = self._reading.get(key)
        if reading is None:
            self._forget(key)
            reading = _Reading(asyncio.create_task(self._read(key, streams, read)), streams)
            self._reading[key] = reading
            for stream in streams:
                self._keys.setdefault((key.projection, stream), set()).add(key)
            reading.task.add_done_callback(_retrieve)
        # Shielded: a client that disconnects must not cancel the read for the others.
        return await asyncio.shield(reading.task)

    def drop(self, key: Key) -> None:
        """Requests from now on get an answer that is read from now on."""
        self._forget(key)
        if (reading := self._reading.pop(key, None)) is not None:
            self._unlist(key, reading.streams)

    def changed(self, projection: str, streams: Iterable[str]) -> None:
        """Handle a change message: drop what was read from these streams, or is being read."""
        if not self._keys:
            return
        for stream in streams:
            for key in tuple(self._keys.get((projection, stream), ())):
                self.drop(key)

    def clear(self, projection: str) -> None:
        """Another generation has become active."""
        for key in [key for key in (*self._kept, *self._reading) if key.projection == projection]:
            self.drop(key)

    async def _read(self, key: Key, streams: Collection[str], read: Callable[[], Awaitable[Answer]]) -> Answer:
        began = self._clock()
        answer = None
        try:
            answer = await read()
        finally:
            reading = self._reading.get(key)
            if reading is not None and reading.task is asyncio.current_task():  # else it was dropped meanwhile
                del self._reading[key]
                cost = self._clock() - began
                if answer is not None and cost >= WORTH_S and len(answer.body) <= self.capacity // 8:
                    self._keep(key, _Kept(answer, began + cost + min(LONGEST_S, cost * KEPT_PER_COST), streams))
                else:
                    self._unlist(key, streams)
        return answer

    def _keep(self, key: Key, kept: _Kept) -> None:
        self._kept[key] = kept
        self._size += len(kept.answer.body) + OVERHEAD
        while self._size > self.capacity:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: Key) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._size -= len(kept.answer.body) + OVERHEAD
            self._unlist(key, kept.streams)

    def _unlist(self, key: Key, streams: Collection[str]) -> None:
        for stream in streams:
            keys = self._keys.get((key.projection, stream))
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del self._keys[key.projection, stream]


def _retrieve(reading: asyncio.Task[Answer]) -> None:
    """So that asyncio does not log the error of a read that no caller waits for any more."""
    if not reading.cancelled():
        reading.exception()
