"""Reads the write database for verify: streams, their events, and the streams in the outbox. It never writes.

Streams are paged in the order of the table's own index, regardless of the database's collation; other stores are queried by name,
so no two databases need to agree on an order.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import asyncpg
from msgspec.structs import replace
from pydantic import ValidationError

from projectors.stores.port import Event
from shared.contracts.registry import PERSONAL_EVENTS, UnknownEventError, event_data
from shared.messages.envelope import ReceivedEvent
from shared.privacy.key_database import KeyDatabase
from shared.privacy.marks import subject_of
from shared.privacy.sealing import KeyMissingError, Keys, opened
from shared.runtime.reasons import reason

PAGE: Final = 2000
CHUNK_STREAMS: Final = 300
CHUNK_EVENTS: Final = 1000
"""Limits of one chunk: they bound the memory."""
CLOCK_MARGIN: Final = timedelta(milliseconds=500)

COUNT: Final = "SELECT count(*) FROM streams"
STREAMS_AFTER: Final = "SELECT stream, version FROM streams WHERE stream > $1 ORDER BY stream LIMIT $2"
SAMPLE: Final = """
SELECT stream, version FROM (
    SELECT stream, version FROM streams ORDER BY hashtextextended(stream, $1), stream LIMIT $2
) AS chosen ORDER BY stream
"""
VERSIONS: Final = "SELECT stream, version FROM streams WHERE stream = ANY ($1::text[])"
EVENTS: Final = """
SELECT stream, version, envelope::text AS envelope FROM all_events WHERE stream = ANY ($1::text[])
ORDER BY stream, version
"""
EVENTS_AFTER: Final = """
SELECT events.stream, events.version, envelope::text AS envelope
FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS wanted (stream, after, upto)
JOIN all_events AS events ON events.stream = wanted.stream AND events.version > wanted.after AND events.version <= wanted.upto
ORDER BY events.stream, events.version
"""
EVENT_COUNTS: Final = """
SELECT stream, count(*) AS events, max(version) AS last FROM all_events
WHERE stream = ANY ($1::text[]) GROUP BY stream
"""
PENDING: Final = "SELECT DISTINCT stream FROM outbox WHERE stream = ANY ($1::text[])"
CLOCK: Final = "SELECT clock_timestamp()"
CHANGED_SINCE: Final = "SELECT stream, version FROM streams WHERE updated_at >= $1"
# A row contains the start time of its transaction, and the rows of running transactions are not visible yet. A transaction that has
# written nothing for ten seconds is a reader.
MARK: Final = """
SELECT least(now(), min(xact_start)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND (backend_xid IS NOT NULL OR xact_start > now() - interval '10 seconds')
"""
ORPHANS: Final = """
SELECT DISTINCT stream FROM all_events WHERE NOT EXISTS (SELECT FROM streams WHERE streams.stream = all_events.stream)
"""


@dataclass(frozen=True, slots=True)
class UnreadableEvent:
    """An event that the current contracts do not know, or whose data they reject."""

    stream: str
    version: int
    error: str


@dataclass(slots=True)
class EventStoreSnapshot:
    """Some streams of the event store, read in one snapshot."""

    versions: dict[str, int] = field(default_factory=dict)
    """A stream that is missing here is not in the event store."""
    pending: frozenset[str] = frozenset()
    """Streams with events in the outbox."""
    events: dict[str, list[Event | UnreadableEvent]] = field(default_factory=dict)
    holes: dict[str, dict[str, int]] = field(default_factory=dict)
    """Streams whose events are not numbered from 1 to their version."""
    at: datetime = datetime.max
    """The database's clock after all of this was read."""


class EventStore:
    """``keys``: None: personal data stay sealed."""

    def __init__(self, pool: asyncpg.Pool, keys: KeyDatabase | None = None) -> None:
        self._pool = pool
        self._keys = keys

    async def count(self) -> int:
        return int(await self._pool.fetchval(COUNT, timeout=None))

    async def chunks(self) -> AsyncIterator[list[str]]:
        """All streams, in chunks."""
        after = ""
        while page := await self._pool.fetch(STREAMS_AFTER, after, PAGE):
            for chunk in _chunks(page):
                yield chunk
            after = page[-1]["stream"]

    async def sample(self, seed: int, count: int) -> AsyncIterator[list[str]]:
        """``count`` random streams: the same for the same seed and streams."""
        async with self._pool.acquire() as connection, connection.transaction(readonly=True):
            cursor = await connection.cursor(SAMPLE, seed, count, timeout=None)
            while page := await cursor.fetch(PAGE):
                for chunk in _chunks(page):
                    yield chunk

    async def read(self, streams: Sequence[str], *, content: bool) -> EventStoreSnapshot:
        """``content``: also their events, otherwise only the number of events."""
        names = list(streams)
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            versions = {row["stream"]: row["version"] for row in await connection.fetch(VERSIONS, names)}
            stored = EventStoreSnapshot(
                versions, frozenset(row["stream"] for row in await connection.fetch(PENDING, names))
            )
            if content:
                for row in await connection.fetch(EVENTS, names):
                    stored.events.setdefault(row["stream"], []).append(decode(*row))
                counted = {name: (len(events), events[-1].version) for name, events in stored.events.items()}
            else:
                rows = await connection.fetch(EVENT_COUNTS, names)
                counted = {row["stream"]: (row["events"], row["last"]) for row in rows}
            stored.at = await connection.fetchval(CLOCK)
        await self._open(stored.events)
        for name, version in versions.items():
            events, last = counted.get(name, (0, 0))
            if not events == last == version:
                stored.holes[name] = {"version": version, "events": events, "last": last}
        return stored

    async def events_after(self, wanted: Mapping[str, tuple[int, int]]) -> dict[str, list[Event | UnreadableEvent]]:
        """Stream → its events after the first version, up to the second."""
        afters, uptos = [after for after, _ in wanted.values()], [upto for _, upto in wanted.values()]
        found: dict[str, list[Event | UnreadableEvent]] = {}
        for row in await self._pool.fetch(EVENTS_AFTER, list(wanted), afters, uptos):
            found.setdefault(row["stream"], []).append(decode(*row))
        await self._open(found)
        return found

    async def _open(self, found: dict[str, list[Event | UnreadableEvent]]) -> None:
        """Open the personal data of these events, in place: as projections see them now."""
        personal = [
            event
            for events in found.values()
            for event in events
            if isinstance(event, Event) and type(event.data) in PERSONAL_EVENTS
        ]
        if self._keys is None or not personal:
            return
        subjects = {
            subject for event in personal if (subject := subject_of(type(event.data), event.data, event.stream))
        }
        keys = await self._keys.keys(subjects)
        for stream, events in found.items():
            found[stream] = [_opened(event, keys) if isinstance(event, Event) else event for event in events]

    async def known(self, streams: Sequence[str]) -> set[str]:
        return {row["stream"] for row in await self._pool.fetch(VERSIONS, list(streams))}

    async def clock(self) -> datetime:
        now: datetime = await self._pool.fetchval(CLOCK)
        return now

    async def mark(self) -> datetime:
        """A time for ``changed_since``: all rows that are not visible yet will contain this time or a later one."""
        found: datetime = await self._pool.fetchval(MARK)
        return found - CLOCK_MARGIN

    async def changed_since(self, mark: datetime) -> dict[str, int]:
        """Stream → version, of all streams that have changed since then."""
        return {row["stream"]: row["version"] for row in await self._pool.fetch(CHANGED_SINCE, mark)}

    async def orphans(self) -> AsyncIterator[str]:
        """Streams with events, but without a row in ``streams``."""
        async with self._pool.acquire() as connection, connection.transaction(readonly=True):
            async for row in connection.cursor(ORPHANS, prefetch=PAGE, timeout=None):
                yield row["stream"]


def decode(stream: str, version: int, envelope: str) -> Event | UnreadableEvent:
    try:
        read = ReceivedEvent.model_validate_json(envelope)
        data = event_data(read.type, read.schemaversion, read.data)
    except (UnknownEventError, ValidationError, LookupError, TypeError, ValueError) as error:
        return UnreadableEvent(stream, version, reason(error))
    return Event(read.id, read.type, stream, version, read.time, data, lane=0, actor=read.actor)


def _opened(event: Event, keys: Keys) -> Event | UnreadableEvent:
    try:
        return replace(event, data=opened(event.data, event.stream, keys))
    except KeyMissingError as error:
        return UnreadableEvent(event.stream, event.version, reason(error))


def _chunks(page: Sequence[asyncpg.Record]) -> list[list[str]]:
    chunks: list[list[str]] = [[]]
    events = 0
    for row in page:
        if chunks[-1] and (len(chunks[-1]) >= CHUNK_STREAMS or events + row["version"] > CHUNK_EVENTS):
            chunks.append([])
            events = 0
        chunks[-1].append(row["stream"])
        events += row["version"]
    return chunks
