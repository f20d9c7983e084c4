"""Reads one stream's state and version from the write database, in one snapshot. State of older code is replayed, never shown as it is.

The deadline is for a replay: a stream of 100,000 events takes about a second, and whose state is current is read by its key.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from asyncpg import Record

from command_service.domain.aggregate import Aggregate, State
from command_service.handling.event_store import STREAMS_BY_NAME
from command_service.handling.state_replay import replay
from command_service.http.responses import available_within
from shared.http.problems import Problem
from shared.runtime.postgres import Connection, Database
from shared.runtime.reasons import reason

READ_DEADLINE_S: Final = 20.0
CONNECTIONS: Final = 2
UNAVAILABLE: Final = "the write database cannot be read at the moment"

# Two sources may have used the id: the command is the one whose outcome names the stream, and a version that has this event.
EVENTS: Final = """
SELECT event.version, event.envelope::text AS envelope, command.source, command.command_type, command.decided_at,
    command.outcome::text AS outcome
FROM (
    SELECT version, envelope FROM all_events
    WHERE stream = $1 AND version > $2 AND ($3::timestamptz IS NULL OR (envelope ->> 'time')::timestamptz <= $3)
    ORDER BY version LIMIT $4
) AS event
LEFT JOIN LATERAL (
    SELECT source, command_type, decided_at, outcome FROM commands
    WHERE command_id = event.envelope ->> 'causationid' AND outcome -> 'data' ->> 'stream' = $1
      AND (outcome -> 'data' ->> 'version')::bigint >= event.version
    ORDER BY (outcome -> 'data' ->> 'version')::bigint LIMIT 1
) AS command ON true
ORDER BY event.version
"""
"""$2: after this version; $3: only those until this time; $4: the limit. ``outcome`` is null where it is not kept any more."""
# Clocks of two workers differ: an event is in the state of a time if it, or one after it, has that time or an earlier one.
VERSION_AT: Final = """
SELECT max(version) FROM all_events WHERE stream = $1 AND (envelope ->> 'time')::timestamptz <= $2
"""


class ReadStream(NamedTuple):
    version: int
    state: State


class StreamReader:
    def __init__(self, write_db_url: str) -> None:
        self._database = Database(write_db_url, read_only=True, max_size=CONNECTIONS)

    async def read(self, stream: str, aggregate: Aggregate, at: datetime | None = None) -> ReadStream | None:
        """The stream as it is, or as it was ``at`` a time. None: there is no such stream, or it had no event then.

        Raises Problem while the database is unavailable, and for a state that cannot be replayed.
        """
        async with available_within(READ_DEADLINE_S, UNAVAILABLE):
            return await self._database.read(lambda connection: _read(connection, stream, aggregate, at))

    async def events(self, stream: str, after: int, until: datetime | None, limit: int) -> Sequence[Record]:
        """The stream's events after a version, as ``version`` and ``envelope`` (JSON text). Raises Problem."""
        async with available_within(READ_DEADLINE_S, UNAVAILABLE):
            rows: Sequence[Record] = await self._database.read(
                lambda connection: connection.fetch(EVENTS, stream, after, until, limit)
            )
            return rows

    async def close(self) -> None:
        await self._database.close()


async def _read(
    connection: Connection, stream: str, aggregate: Aggregate, at: datetime | None = None
) -> ReadStream | None:
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        state: State | Exception | None = None
        if at is not None:
            version = await connection.fetchval(VERSION_AT, stream, at)
        elif (row := await connection.fetchrow(STREAMS_BY_NAME, [stream])) is not None:
            version, state = row["version"], aggregate.restored(row["state"], row["state_version"])
        else:
            version = None
        if version is None:
            return None
        if state is None:
            state = await replay(connection, stream, aggregate, version)
        if isinstance(state, Exception):
            detail = f"the events of {stream}, from which its state is made, cannot be replayed: {reason(state)}"
            raise Problem(detail, status=500, code="state-unreadable") from state
        return ReadStream(version, state)
