"""Moves old events out of the hot table, in batches: what a batch has moved is in exactly one of the two tables, at every moment.

    streams, page by page ──chosen──▶ ranges (stream, versions) ──batch──▶ DELETE FROM events … INSERT INTO archived_events, one transaction

Chosen are all events of streams that are closed (``Aggregate.closed``) and have not changed since a time; of kinds that are named also
the events from before that time of streams that are open: decisions need their state only, which is beside the stream. Of a stream it is
always the oldest events, so a run that was killed is continued by the next, and the one after that finds nothing to do.

Live commands are not in its way, nor it in theirs: they never read events, and write only new versions.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

import asyncpg

from command_service.domain.aggregate import State, never_closed
from command_service.domain.aggregates import AGGREGATES
from command_service.handling.state_replay import replay
from shared.runtime.failpoints import Failpoint, reached
from shared.runtime.postgres import Connection

PAGE: Final = 2000
"""Streams looked at in one statement."""
BATCH: Final = 1000

# A page of all streams, whatever their kind, so that it is bounded. State is read only where it is looked at: of streams that have
# events in the hot table, and have not changed since.
PAGE_OF_STREAMS: Final = """
SELECT s.stream, s.kind, s.version, hot.version AS first, s.updated_at < $2 AS quiet, s.state_version,
    CASE WHEN hot.version IS NOT NULL AND s.updated_at < $2 THEN s.state END AS state
FROM (
    SELECT stream, kind, version, updated_at, state, state_version FROM streams WHERE stream > $1 ORDER BY stream LIMIT $3
) AS s
LEFT JOIN LATERAL (
    SELECT version FROM events WHERE s.kind = ANY ($4::text[]) AND events.stream = s.stream ORDER BY version LIMIT 1
) AS hot ON true
ORDER BY s.stream
"""
# The last of the next $4 events that are all older than $3; null: the first one is not.
LAST_BEFORE: Final = """
SELECT coalesce(min(version) FILTER (WHERE NOT old) - 1, max(version)) AS last
FROM (
    SELECT version, (envelope ->> 'time')::timestamptz < $3 AS old FROM events
    WHERE stream = $1 AND version >= $2 ORDER BY version LIMIT $4
) AS next
"""
MOVE: Final = """
WITH moved AS (
    DELETE FROM events USING unnest($1::text[], $2::bigint[], $3::bigint[]) AS old (stream, first, last)
    WHERE events.stream = old.stream AND events.version BETWEEN old.first AND old.last
    RETURNING events.stream, events.version, events.envelope, events.epoch
)
INSERT INTO archived_events (stream, version, envelope, epoch) SELECT stream, version, envelope, epoch FROM moved
"""
LOCK: Final = "SELECT pg_try_advisory_lock(hashtextextended('tidemark.archive', 0))"
UNLOCK: Final = "SELECT pg_advisory_unlock(hashtextextended('tidemark.archive', 0))"

CLOSABLE: Final[Sequence[str]] = tuple(each.kind for each in AGGREGATES if each.closed is not never_closed)
"""Kinds whose streams can be closed."""
_BY_KIND: Final = {each.kind: each for each in AGGREGATES}


class Range(NamedTuple):
    """Consecutive events of one stream, all in the hot table."""

    stream: str
    first: int
    last: int

    @property
    def events(self) -> int:
        return self.last - self.first + 1

    def cut(self, events: int) -> tuple["Range", "Range | None"]:
        """The first so many events, and the rest."""
        if self.events <= events:
            return self, None
        middle = self.first + events
        return Range(self.stream, self.first, middle - 1), Range(self.stream, middle, self.last)


@dataclass(slots=True)
class Counts:
    streams: int = 0
    events: int = 0


@dataclass(slots=True)
class Archived:
    """The result of a run, by kind. ``unreadable``: streams left alone, as their stored state is of older code and cannot be replayed."""

    kinds: dict[str, Counts] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)

    @property
    def events(self) -> int:
        return sum(each.events for each in self.kinds.values())


class ArchiveRunningError(Exception):
    """Another run has the database's lock."""


async def archive(
    connection: Connection,
    before: datetime,
    *,
    kinds: Collection[str] = (),
    batch: int = BATCH,
    dry_run: bool = False,
) -> Archived:
    """``kinds``: only these, and of their open streams the events from before; none: closed streams of all kinds.

    ``dry_run``: nothing is moved, the result says what would be. Raises ArchiveRunningError, and the server's errors; what was moved
    until then stays moved.
    """
    if not await connection.fetchval(LOCK):
        raise ArchiveRunningError
    try:
        run = _Run(connection, before, frozenset(kinds), batch, dry_run=dry_run)
        await run.all_streams()
        return run.result
    finally:
        if not connection.is_closed():
            await connection.execute(UNLOCK)


class _Run:
    def __init__(
        self, connection: Connection, before: datetime, kinds: frozenset[str], batch: int, *, dry_run: bool
    ) -> None:
        self.result = Archived()
        self._connection = connection
        self._before = before
        self._kinds = kinds
        self._batch = batch
        self._dry_run = dry_run
        self._waiting: list[Range] = []

    async def all_streams(self) -> None:
        after, kinds = "", list(self._kinds or CLOSABLE)
        while page := await self._connection.fetch(PAGE_OF_STREAMS, after, self._before, PAGE, kinds, timeout=None):
            for row in page:
                if row["first"] is not None:
                    await self._stream(row)
            after = page[-1]["stream"]
        await self._flush()

    async def _stream(self, row: asyncpg.Record) -> None:
        stream, kind, first = row["stream"], row["kind"], row["first"]
        before = self.result.events
        if row["quiet"] and (kind in self._kinds or await self._is_closed(row)):
            await self._add(kind, Range(stream, first, row["version"]))
        elif kind in self._kinds and not row["quiet"]:
            await self._old_part(kind, stream, first)
        if self.result.events > before:
            self.result.kinds[kind].streams += 1

    async def _is_closed(self, row: asyncpg.Record) -> bool:
        aggregate = _BY_KIND[row["kind"]]
        state: State | Exception | None = aggregate.restored(row["state"], row["state_version"])
        if state is None:
            state = await replay(self._connection, row["stream"], aggregate, row["version"])
        if isinstance(state, Exception):
            self.result.unreadable[row["stream"]] = str(state)
            return False
        return aggregate.closed(state)

    async def _old_part(self, kind: str, stream: str, first: int) -> None:
        while True:
            last = await self._connection.fetchval(LAST_BEFORE, stream, first, self._before, self._batch)
            if last is None or last < first:
                return
            await self._add(kind, Range(stream, first, last))
            if last - first + 1 < self._batch:
                return
            first = last + 1

    async def _add(self, kind: str, found: Range) -> None:
        self.result.kinds.setdefault(kind, Counts()).events += found.events
        if self._dry_run:
            return
        rest: Range | None = found
        while rest is not None:
            room = self._batch - sum(each.events for each in self._waiting)
            part, rest = rest.cut(room)
            self._waiting.append(part)
            if part.events == room:
                await self._flush()

    async def _flush(self) -> None:
        if not self._waiting:
            return
        async with self._connection.transaction():
            await self._connection.execute(MOVE, *map(list, zip(*self._waiting, strict=True)))
            reached(Failpoint.BEFORE_COMMIT)
        reached(Failpoint.AFTER_COMMIT)
        self._waiting.clear()
