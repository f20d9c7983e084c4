"""The tables ``positions``, ``held``, ``discarded`` and ``progress`` that every PostgreSQL read store has beside its data.

- Positions move by compare-and-set, and rows are locked in the order of their names: of two writers that read the same position
  exactly one succeeds, without a deadlock. The other gets StalePositionError.
- A hold is written only if it is for the event right after the position, so a writer that was paused for long cannot hold a
  stream that has advanced meanwhile.

Functions here run within the caller's transaction.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg

from projectors.stores.port import (
    IMPLAUSIBLE_DELAY,
    LATEST_DUE,
    UNREPORTED,
    Commit,
    Hold,
    HoldStatus,
    LaneProgress,
    Position,
    StalePositionError,
)
from projectors.stores.postgres_writing import append, columns_of
from projectors.stores.storable import storable
from shared.runtime.postgres import Connection

OPEN_STREAMS: Final = "INSERT INTO positions (stream, applied) SELECT * FROM unnest($1::text[], $2::bigint[])"

# If the version equals the expected one, the position is only checked and locked.
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

CONFIRM_LETTERS: Final = """
WITH told AS MATERIALIZED (
    SELECT held.stream
    FROM unnest($1::text[], $2::bigint[], $3::integer[]) AS letter (stream, version, attempts)
    JOIN held ON held.stream = letter.stream AND held.version = letter.version AND held.attempts = letter.attempts
    WHERE held.status = 'dead'
    ORDER BY held.stream
    FOR UPDATE OF held
)
UPDATE held SET due_at = NULL FROM told WHERE held.stream = told.stream
"""

AS_OF: Final = "SELECT lane, as_of FROM progress"

# GREATEST ignores nulls: a lane without a new time keeps its own.
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

# LIMIT makes each lateral join an index lookup, whatever the statistics are. An empty table ``discarded`` is not searched.
POSITIONS: Final = """
SELECT wanted.stream, coalesce(position.applied, 0) AS applied, hold.*,
    CASE WHEN EXISTS (SELECT FROM discarded) THEN ARRAY(
        SELECT version FROM discarded
        WHERE discarded.stream = wanted.stream AND discarded.version > coalesce(position.applied, 0)
    ) END AS discarded
FROM unnest($1::text[]) AS wanted (stream)
LEFT JOIN LATERAL (SELECT applied FROM positions WHERE stream = wanted.stream LIMIT 1) AS position ON true
LEFT JOIN LATERAL (
    SELECT status, version, seen, attempts, reason, exception, fingerprint, first_failed_at, last_failed_at, due_at
    FROM held
    WHERE stream = wanted.stream AND version > coalesce(position.applied, 0)
    LIMIT 1
) AS hold ON true
WHERE num_nonnulls(position.applied, hold.version) > 0 OR EXISTS (SELECT FROM discarded)
"""

# The same lookups with a small result: of a lane's many streams few are behind, and most of those have a hold that is up to date.
BEHIND: Final = """
SELECT head.stream, coalesce(position.applied, 0) AS applied, hold.*, NULL::bigint[] AS discarded
FROM unnest($1::text[], $2::bigint[]) AS head (stream, version)
LEFT JOIN LATERAL (SELECT applied FROM positions WHERE stream = head.stream LIMIT 1) AS position ON true
LEFT JOIN LATERAL (
    SELECT status, version, seen, attempts, reason, exception, fingerprint, first_failed_at, last_failed_at, due_at
    FROM held
    WHERE stream = head.stream AND version > coalesce(position.applied, 0)
    LIMIT 1
) AS hold ON true
WHERE coalesce(position.applied, 0) < head.version
    AND (hold.version IS NULL OR hold.status = 'gap' OR hold.seen < head.version)
"""

RELEASE_OTHERS: Final = "DELETE FROM held WHERE stream LIKE '%/%' AND split_part(stream, '/', 1) <> ALL ($1::text[])"

DISCARD: Final = """
INSERT INTO discarded (stream, version)
SELECT * FROM unnest($1::text[], $2::bigint[]) AS given (stream, version) ORDER BY stream, version
ON CONFLICT DO NOTHING
"""

POSITIONS_PAGE: Final = "SELECT stream, applied FROM positions WHERE stream > $1 ORDER BY stream LIMIT $2"

DISCARDS: Final = """
SELECT stream, version FROM discarded WHERE (stream, version) > ($1, $2) ORDER BY stream, version LIMIT $3
"""

HELD_BY_STATUS: Final = "SELECT status, count(*) FROM held GROUP BY status"

# SKIP LOCKED: a stream that is being written at this moment needs no resend, so there is no wait for its lock.
OVERDUE: Final = """
WITH overdue AS MATERIALIZED (
    SELECT stream, due_at FROM held
    WHERE due_at BETWEEN $3 AND $4
    ORDER BY due_at, stream
    LIMIT $2
    FOR UPDATE SKIP LOCKED
), asked_again AS (
    UPDATE held SET due_at = $1::timestamptz + interval '30 seconds'
    FROM overdue
    WHERE held.stream = overdue.stream
)
SELECT overdue.stream, coalesce(positions.applied, 0) AS applied
FROM overdue
LEFT JOIN positions ON positions.stream = overdue.stream
ORDER BY overdue.due_at, overdue.stream
"""

_UNIX_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER_SEEN: Final = Position()


async def advance(connection: Connection, commit: Commit) -> None:
    """Move the positions of ``advances``, and check those of streams that are only held. Raises StalePositionError."""
    advancing = {advance.stream for advance in commit.advances}
    wanted = [(advance.stream, advance.expected, advance.version) for advance in commit.advances]
    wanted += [
        (name, hold.version - 1, hold.version - 1) for name, hold in commit.holds.items() if name not in advancing
    ]
    new = [(stream, version) for stream, expected, version in wanted if expected == 0 and version > 0]
    known = [move for move in wanted if move[1] > 0]
    unseen = [stream for stream, _, version in wanted if version == 0]
    if new:
        await _open(connection, new)
    if known and await connection.fetchval(ADVANCE_STREAMS, *columns_of(known)) != len(known):
        raise StalePositionError
    if unseen and await connection.fetchval(COUNT_OPENED, unseen):
        raise StalePositionError


async def _open(connection: Connection, new: Sequence[tuple[str, int]]) -> None:
    """Insert the positions of new streams, in the order of their names, as every writer does. Raises StalePositionError if one exists."""
    try:
        await append(connection, "positions", ("stream", "applied"), sorted(new), OPEN_STREAMS)
    except asyncpg.UniqueViolationError as error:
        raise StalePositionError from error


async def hold(connection: Connection, commit: Commit) -> None:
    """Release the streams that have advanced and are not held again; write ``holds``, ``discarded`` and ``confirmed``."""
    released = {advance.stream for advance in commit.advances}.union(commit.released).difference(commit.holds)
    if released:
        await connection.execute(RELEASE, sorted(released))
    if commit.holds:
        await connection.execute(
            HOLD, *columns_of([_hold_row(stream, storable(hold)) for stream, hold in commit.holds.items()])
        )
    if commit.discarded:
        await connection.execute(DISCARD, *columns_of(commit.discarded))
    if commit.confirmed:
        rows = [(stream, hold.version, hold.attempts) for stream, hold in commit.confirmed.items()]
        await connection.execute(CONFIRM_LETTERS, *columns_of(rows))


async def progress(connection: Connection, steps: Mapping[int, LaneProgress]) -> None:
    if steps:
        rows = [(lane, step.as_of, step.events) for lane, step in steps.items()]
        await connection.execute(PROGRESS, *columns_of(rows))


async def positions(connection: Connection, streams: Sequence[str]) -> dict[str, Position]:
    rows = await connection.fetch(POSITIONS, list(streams))
    found = {row["stream"]: _position(row) for row in rows}
    return {stream: found.get(stream, _NEVER_SEEN) for stream in streams}


async def behind(connection: Connection, heads: Mapping[str, int]) -> dict[str, Position]:
    rows = await connection.fetch(BEHIND, list(heads), list(heads.values()))
    return {row["stream"]: _position(row) for row in rows}


async def overdue(connection: Connection, now: datetime, limit: int) -> list[tuple[str, int]]:
    rows = await connection.fetch(OVERDUE, now, limit, _UNIX_EPOCH, now)
    rows += await connection.fetch(OVERDUE, now, limit - len(rows), now + IMPLAUSIBLE_DELAY, LATEST_DUE)
    return [(row["stream"], row["applied"]) for row in rows]


async def unreported(connection: Connection, now: datetime, limit: int) -> list[tuple[str, int]]:
    rows = await connection.fetch(OVERDUE, now, limit, UNREPORTED, UNREPORTED)
    return [(row["stream"], row["applied"]) for row in rows]


async def held_by_status(connection: Connection) -> dict[HoldStatus, int]:
    """Every status; 0: no stream has it."""
    return dict.fromkeys(HoldStatus, 0) | {
        HoldStatus(status): count for status, count in await connection.fetch(HELD_BY_STATUS)
    }


async def release_others(connection: Connection, kinds: Collection[str]) -> None:
    await connection.execute(RELEASE_OTHERS, list(kinds))


async def positions_page(connection: Connection, cursor: str, limit: int) -> tuple[str, list[tuple[str, int]]]:
    rows = [(row["stream"], row["applied"]) for row in await connection.fetch(POSITIONS_PAGE, cursor, limit)]
    return (rows[-1][0] if len(rows) == limit else "", rows)


async def discards(connection: Connection, after: tuple[str, int], limit: int) -> list[tuple[str, int]]:
    return [(row["stream"], row["version"]) for row in await connection.fetch(DISCARDS, *after, limit)]


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


def _position(row: asyncpg.Record) -> Position:
    discarded = frozenset(row["discarded"] or ())
    if row["status"] is None:
        return Position(row["applied"], discarded=discarded)
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
    return Position(row["applied"], hold, discarded)


async def as_of(connection: Connection) -> dict[int, datetime | None]:
    return {row["lane"]: row["as_of"] for row in await connection.fetch(AS_OF)}
