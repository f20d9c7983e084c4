"""What happens in the read models, as it happens: a bounded log, and readers with bounded queues of their own.

    news ──▶ Live ──one update, encoded once──▶ log (the latest KEPT) ──resume──┐
              └──by filter──▶ each reader's queue (up to QUEUED) ───────────────┴──▶ reader
                                      └─ full: emptied; the reader is told to read again (reset), and gets what follows

An update says that a stream has advanced; what it is now, the queries say. Updates come from news, which may be lost: after every
gap that is known of, readers get a reset. Ids are those of this process and run; whoever comes with another gets a reset too.
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
    """What a reader is to be given: a reset, then updates; nothing at all means that the time is up."""

    reset_id: str | None = None
    """Read again, and go on from here."""
    updates: Sequence[Update] = ()
    connected: bool | None = None
    """News have begun, or ceased, to come in."""


class Reader:
    """``head`` says from where one goes on who has just read everything."""

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
        """What has come since, as soon as there is anything; empty when the time is up; None: it is over."""
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
            return  # it is to read again anyway, when it comes to it
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
    """The log, and whom it is told to."""

    def __init__(self, log_size: int = LOG_SIZE) -> None:
        self.run = secrets.token_hex(4)
        self.connected = False
        """Whether news come in."""
        self._log: deque[Update] = deque(maxlen=log_size)
        self._head = 0
        self._readers: dict[Filter, set[Reader]] = {}
        self._by_stream: dict[str, set[Filter]] = {}
        self._ended = False
        self._empty = asyncio.Event()

    @property
    def head(self) -> str:
        """The id to go on from, for one who has read everything by now."""
        return f"{self.run}-{self._head}"

    @property
    def readers(self) -> int:
        return sum(map(len, self._readers.values()))

    def subscribe(self, wanted: Filter, last_id: str | None) -> Reader:
        """A reader of what comes after ``last_id``; None: from now on. One that cannot be gone on from begins with a reset."""
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
        """Whether news come in now. What came while they did not is unknown: nobody can go on from before."""
        self.connected = connected
        self._log.clear()
        self._head += 1
        self._for_each_reader(lambda reader: reader.set_connected(connected))

    async def end(self) -> None:
        """The process stops: all readers come to their end; return when they have left."""
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
        """What came after it; None: nobody knows."""
        run, _, text = last_id.partition("-")
        if run != self.run or not text.isascii() or not text.isdigit() or len(text) > 18:
            return None
        sequence = int(text)
        oldest = self._log[0].sequence if self._log else self._head + 1
        if not oldest - 1 <= sequence <= self._head:
            return None
        return list(islice(self._log, sequence + 1 - oldest, None))
