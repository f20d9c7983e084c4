"""A read store in PostgreSQL: data, positions, holds and progress change in one transaction, or nothing does.

A subclass says what its data is: ``fold`` (pure, before the transaction) and ``write`` (inside it). Everything else is
here, so that all PostgreSQL projections make and keep the same promises:

- positions move first, by compare-and-set, rows in the order of their names: of two writers who read the same position
  exactly one goes on, and they never deadlock over it. The other gets StalePositionError and has written nothing.
- every data row belongs to one stream, so the position that has just been moved guards it as well.
- a hold is written only where it waits for the event after the position, so a writer that was paused for long and wakes
  up cannot hold a stream that has gone on without it.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import asyncpg

from projectors.projection import (
    Advance,
    Commit,
    Hold,
    HoldStatus,
    LaneProgress,
    Position,
    StalePositionError,
    StoreUnavailableError,
)
from shared.postgres import CONNECT_TIMEOUT_S, connect_pool, is_outage

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = asyncpg.Connection | PoolConnectionProxy

COMMIT_TIMEOUT_S: Final = 60.0
POOL_SIZE: Final = 4

Changes = TypeVar("Changes")

# Tables grow from nothing to millions of rows while a plan is cached; planning anew costs less than one bad plan.
PLAN_EACH_TIME: Final = "SELECT set_config('plan_cache_mode', 'force_custom_plan', true)"

OPEN_STREAMS: Final = """
WITH opened AS (
    INSERT INTO positions (stream, applied)
    SELECT stream, version FROM unnest($1::text[], $2::bigint[]) AS wanted (stream, version)
    ORDER BY stream
    ON CONFLICT (stream) DO NOTHING
    RETURNING stream
)
SELECT count(*) FROM opened
"""

# A version that equals the expected one only checks, and locks, the position.
ADVANCE_STREAMS: Final = """
WITH locked AS MATERIALIZED (
    SELECT positions.stream, wanted.version
    FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS wanted (stream, expected, version)
    JOIN positions ON positions.stream = wanted.stream AND positions.applied = wanted.expected
    ORDER BY positions.stream
    FOR UPDATE OF positions
), advanced AS (
    UPDATE positions SET applied = locked.version
    FROM locked
    WHERE positions.stream = locked.stream AND positions.applied < locked.version
)
SELECT count(*) FROM locked
"""

COUNT_OPENED: Final = "SELECT count(*) FROM positions WHERE stream = ANY($1::text[])"

RELEASE: Final = "DELETE FROM held WHERE stream = ANY($1::text[])"

HOLD: Final = """
INSERT INTO held (
    stream, status, version, seen, attempts, reason, exception, fingerprint, first_failed_at, last_failed_at, due_at
)
SELECT * FROM unnest(
    $1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::integer[], $6::text[], $7::text[], $8::text[],
    $9::timestamptz[], $10::timestamptz[], $11::timestamptz[]
) AS hold (stream)
ORDER BY hold.stream
ON CONFLICT (stream) DO UPDATE SET
    status = excluded.status,
    version = excluded.version,
    seen = excluded.seen,
    attempts = excluded.attempts,
    reason = excluded.reason,
    exception = excluded.exception,
    fingerprint = excluded.fingerprint,
    first_failed_at = excluded.first_failed_at,
    last_failed_at = excluded.last_failed_at,
    due_at = excluded.due_at
"""

# GREATEST ignores nulls: a lane that says nothing new keeps its time.
PROGRESS: Final = """
INSERT INTO progress (lane, as_of, events_applied, updated_at)
SELECT lane, as_of, events, now()
FROM unnest($1::integer[], $2::timestamptz[], $3::bigint[]) AS step (lane, as_of, events)
ORDER BY lane
ON CONFLICT (lane) DO UPDATE SET
    as_of = greatest(progress.as_of, excluded.as_of),
    events_applied = progress.events_applied + excluded.events_applied,
    updated_at = excluded.updated_at
"""

POSITIONS: Final = """
SELECT wanted.stream, coalesce(positions.applied, 0) AS applied, held.status, held.version, held.seen, held.attempts,
    held.reason, held.exception, held.fingerprint, held.first_failed_at, held.last_failed_at, held.due_at
FROM unnest($1::text[]) AS wanted (stream)
LEFT JOIN positions ON positions.stream = wanted.stream
LEFT JOIN held ON held.stream = wanted.stream AND held.version > coalesce(positions.applied, 0)
WHERE positions.stream IS NOT NULL OR held.stream IS NOT NULL
"""

# SKIP LOCKED: a stream that is being written at this moment needs no resend, and nobody waits for it here.
OVERDUE: Final = """
WITH overdue AS MATERIALIZED (
    SELECT stream, due_at FROM held
    WHERE due_at <= $1
    ORDER BY due_at, stream
    LIMIT $2
    FOR UPDATE SKIP LOCKED
), asked_again AS (
    UPDATE held SET due_at = $1 + interval '30 seconds'
    FROM overdue
    WHERE held.stream = overdue.stream
)
SELECT overdue.stream, coalesce(positions.applied, 0) AS applied
FROM overdue
LEFT JOIN positions ON positions.stream = overdue.stream
ORDER BY overdue.due_at, overdue.stream
"""


class PostgresStore(ABC, Generic[Changes]):
    """``projectors.projection.Store`` on one PostgreSQL schema."""

    def __init__(self, url: str, schema: str) -> None:
        self._url = url
        self._schema = schema
        self._pool: asyncpg.Pool | None = None

    @abstractmethod
    def fold(self, advances: Sequence[Advance]) -> Changes:
        """What the events make of the data. Pure. Raises ProjectionError."""

    @abstractmethod
    async def write(self, connection: "Connection", changes: Changes) -> None:
        """Write what ``fold`` returned, in the commit's transaction. May raise ProjectionError."""

    async def open(self) -> None:
        if self._pool is None:
            with _outages_named():
                self._pool = await connect_pool(self._url, schema=self._schema, max_size=POOL_SIZE)

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            await asyncio.wait_for(pool.close(), CONNECT_TIMEOUT_S)
        except TimeoutError:
            pool.terminate()

    async def positions(self, streams: Sequence[str]) -> dict[str, Position]:
        async with self._connection() as connection:
            rows = await connection.fetch(POSITIONS, list(streams))
        found = {row["stream"]: _position(row) for row in rows}
        return {stream: found.get(stream, _NEVER_SEEN) for stream in streams}

    async def commit(self, commit: Commit) -> None:
        changes = self.fold(commit.advances) if commit.advances else None
        async with self._connection() as connection, connection.transaction():
            await connection.execute(PLAN_EACH_TIME)
            await _advance(connection, commit)
            if changes is not None:
                await self.write(connection, changes)
            await _hold(connection, commit)
            if commit.progress:
                await connection.execute(PROGRESS, *_progress_columns(commit.progress))

    async def overdue(self, now: datetime, limit: int) -> Sequence[tuple[str, int]]:
        async with self._connection() as connection:
            rows = await connection.fetch(OVERDUE, now, limit)
        return [(row["stream"], row["applied"]) for row in rows]

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator["Connection"]:
        """A connection for at most COMMIT_TIMEOUT_S; outages leave the block as StoreUnavailableError."""
        if self._pool is None:
            raise RuntimeError("the store is not open")
        with _outages_named():
            async with asyncio.timeout(COMMIT_TIMEOUT_S), self._pool.acquire(timeout=CONNECT_TIMEOUT_S) as connection:
                yield connection


@contextmanager
def _outages_named() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if is_outage(error):
            raise StoreUnavailableError(f"{type(error).__name__}: {error}") from error
        raise


async def _advance(connection: "Connection", commit: Commit) -> None:
    """Move the positions of ``advances``, check those of mere holds. Raises StalePositionError."""
    advancing = {advance.stream for advance in commit.advances}
    wanted = [(advance.stream, advance.expected, advance.version) for advance in commit.advances]
    wanted += [
        (name, hold.version - 1, hold.version - 1) for name, hold in commit.holds.items() if name not in advancing
    ]
    new = [(stream, version) for stream, expected, version in wanted if expected == 0 and version > 0]
    known = [move for move in wanted if move[1] > 0]
    unseen = [stream for stream, _, version in wanted if version == 0]
    if new and await connection.fetchval(OPEN_STREAMS, *_columns(new)) != len(new):
        raise StalePositionError
    if known and await connection.fetchval(ADVANCE_STREAMS, *_columns(known)) != len(known):
        raise StalePositionError
    if unseen and await connection.fetchval(COUNT_OPENED, unseen):
        raise StalePositionError


async def _hold(connection: "Connection", commit: Commit) -> None:
    free = {advance.stream for advance in commit.advances}.union(commit.released).difference(commit.holds)
    if free:
        await connection.execute(RELEASE, sorted(free))
    if commit.holds:
        await connection.execute(HOLD, *_columns([_hold_row(*hold) for hold in commit.holds.items()]))


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return list(zip(*rows, strict=True))


def _hold_row(stream: str, hold: Hold) -> tuple[Any, ...]:
    return (
        stream,
        hold.status,
        hold.version,
        hold.seen,
        hold.attempts,
        hold.reason,
        hold.exception,
        hold.fingerprint,
        hold.first_failed_at,
        hold.last_failed_at,
        hold.due_at,
    )


def _progress_columns(progress: Mapping[int, LaneProgress]) -> list[tuple[Any, ...]]:
    return _columns([(lane, step.as_of, step.events) for lane, step in progress.items()])


_NEVER_SEEN: Final = Position()


def _position(row: asyncpg.Record) -> Position:
    if row["status"] is None:
        return Position(row["applied"])
    hold = Hold(
        status=HoldStatus(row["status"]),
        version=row["version"],
        seen=row["seen"],
        attempts=row["attempts"],
        reason=row["reason"],
        exception=row["exception"],
        fingerprint=row["fingerprint"],
        first_failed_at=row["first_failed_at"],
        last_failed_at=row["last_failed_at"],
        due_at=row["due_at"],
    )
    return Position(row["applied"], hold)
