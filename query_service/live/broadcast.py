"""Broadcasts updates of the read models to readers: a bounded log for resuming, and a bounded queue for each reader.

    change message ──▶ Broadcast ──one update, encoded once──▶ log (the latest LOG_SIZE) ──resume──┐
                           └──by filter──▶ each reader's queue (up to MAX_QUEUED) ─────────────────┴──▶ reader
                                               └─ full: emptied; the reader gets a reset, and then the following updates

An update states that a stream has advanced; queries return its content. Updates come from change messages, which may be lost: after
every known gap readers get a reset. Ids are valid for one run of one process; a reader that resumes with another id gets a reset too.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from query_service.live.updates import ACTIVATED, ADVANCED, HELD, Filter, Update

LOG_SIZE: Final = 20_000
MAX_QUEUED: Final = 5_000


@dataclass(frozen=True, slots=True)
class Received:
    """What to send to a reader: a reset, then updates. Empty: the timeout has expired."""

    reset_id: str | None = None
    """The id of the reset: the reader queries again and continues after this id."""
    updates: Sequence[Update] = ()
    connected: bool | None = None
    """Set if the connection for change messages was established or lost."""


class Reader:
    """The queue of one subscriber. ``head`` returns the id after which a reader continues that has just queried everything."""

    def __init__(self, head: Callable[[], str], backlog: Iterable[Update] | None) -> None:
        self._head = head
        self._queue: deque[Update] = deque(backlog or ())
        self._reset = backlog is None
        self._connected: bool | None = None
        self._ended = False
        self._wake = asyncio.Event()
        if self._reset or self._queue:
            self._wake.set()

    async def take(self, seconds: float) -> Received | None:
        """The updates since the last call, as soon as there are any; empty after the timeout; None at the end of the stream."""
        if not self._wake.is_set():
            try:
                async with asyncio.timeout(seconds):
                    await self._wake.wait()
            except TimeoutError:
                return Received()
        self._wake.clear()
        if self._ended:
            return None
        received = Received(self._head() if self._reset else None, tuple(self._queue), self._connected)
        self._queue.clear()
        self._reset, self._connected = False, None
        return received

    def offer(self, updates: Sequence[Update]) -> None:
        if self._reset:
            return  # the pending reset makes the reader query again anyway
        if len(self._queue) + len(updates) > MAX_QUEUED:
            self.reset()
            return
        self._queue.extend(updates)
        self._wake.set()

    def reset(self) -> None:
        self._queue.clear()
        self._reset = True
        self._wake.set()

    def set_connected(self, connected: bool) -> None:
        self._connected = connected
        if connected:
            self.reset()
        self._wake.set()

    def end(self) -> None:
        self._ended = True
        self._wake.set()


class Broadcast:
    """The log and its readers."""

    def __init__(self, log_size: int = LOG_SIZE) -> None:
        self.run = secrets.token_hex(4)
        self.connected = False
        """Whether change messages are received."""
        self._log: deque[Update] = deque(maxlen=log_size)
        self._head = 0
        self._readers: dict[Filter, set[Reader]] = {}
        self._by_stream: dict[str, set[Filter]] = {}
        self._ended = False
        self._empty = asyncio.Event()

    @property
    def head(self) -> str:
        """The id after which a reader continues that has queried everything by now."""
        return f"{self.run}-{self._head}"

    @property
    def readers(self) -> int:
        return sum(map(len, self._readers.values()))

    def subscribe(self, wanted: Filter, last_id: str | None) -> Reader:
        """A reader of the updates after ``last_id``; None: from now on. It starts with a reset if the log does not reach back to it."""
        backlog = [] if last_id is None else self._since(last_id)
        reader = Reader(lambda: self.head, None if backlog is None else filter(wanted.matches, backlog))
        if wanted not in self._readers:
            self._readers[wanted] = set()
            for stream in wanted.streams:
                self._by_stream.setdefault(stream, set()).add(wanted)
        self._readers[wanted].add(reader)
        if self._ended:
            reader.end()
        return reader

    def unsubscribe(self, wanted: Filter, reader: Reader) -> None:
        readers = self._readers[wanted]
        readers.discard(reader)
        if not readers:
            del self._readers[wanted]
            if not self._readers:
                self._empty.set()
            for stream in wanted.streams:
                self._by_stream[stream].discard(wanted)
                if not self._by_stream[stream]:
                    del self._by_stream[stream]

    def advanced(
        self,
        projection: str,
        generation: int,
        streams: Iterable[tuple[str, int]],
        held: Iterable[tuple[str, int]],
    ) -> None:
        about = {"projection": projection, "generation": generation}
        self._publish(
            [
                self._update(event, projection, stream, {**about, "stream": stream, "version": version})
                for event, pairs in ((ADVANCED, streams), (HELD, held))
                for stream, version in pairs
            ]
        )

    def activated(self, projection: str, generation: int) -> None:
        data = {"projection": projection, "generation": generation}
        self._publish([self._update(ACTIVATED, projection, None, data)])

    def set_connected(self, connected: bool) -> None:
        """Set whether change messages are received. Those sent meanwhile may be lost, so no reader can resume from an older id."""
        self.connected = connected
        self._log.clear()
        self._head += 1
        self._for_each_reader(lambda reader: reader.set_connected(connected))

    async def end(self) -> None:
        """End all readers, because the process stops. Returns when they have unsubscribed."""
        self._ended = True
        self._for_each_reader(Reader.end)
        if self._readers:
            self._empty.clear()
            await self._empty.wait()

    def _update(self, event: str, projection: str, stream: str | None, data: Any) -> Update:
        self._head += 1
        return Update(self.run, self._head, event, projection, stream, data)

    def _publish(self, updates: Sequence[Update]) -> None:
        self._log.extend(updates)
        for_streams: dict[Filter, list[Update]] = {}
        for update in updates if self._by_stream else ():
            about = self._readers if update.stream is None else self._by_stream.get(update.stream, ())
            for wanted in about:
                if wanted.streams and wanted.matches(update):
                    for_streams.setdefault(wanted, []).append(update)
        for wanted, readers in self._readers.items():
            if wanted.streams:
                continue
            if matching := [update for update in updates if wanted.matches(update)]:
                for reader in readers:
                    reader.offer(matching)
        for wanted, matching in for_streams.items():
            for reader in self._readers[wanted]:
                reader.offer(matching)

    def _for_each_reader(self, action: Callable[[Reader], None]) -> None:
        for readers in self._readers.values():
            for reader in readers:
                action(reader)

    def _since(self, last_id: str) -> list[Update] | None:
        """The updates after ``last_id``; None: unknown, the log does not reach back to it."""
        run, _, text = last_id.partition("-")
        if run != self.run or not text.isascii() or not text.isdigit() or len(text) > 18:
            return None
        sequence = int(text)
        oldest = self._log[0].sequence if self._log else self._head + 1
        if not oldest - 1 <= sequence <= self._head:
            return None
        return list(islice(self._log, sequence + 1 - oldest, None))
