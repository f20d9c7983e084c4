"""Reads one stream's state and version from the write database, in one snapshot. State of older code is replayed, never shown as it is.

The deadline is for a replay: a stream of 100,000 events takes about a second, and whose state is current is read by its key.
"""

import asyncio
from typing import Final, NamedTuple

from command_service.domain.aggregate import Aggregate, State
from command_service.handling.event_store import STREAMS_BY_NAME
from command_service.handling.state_replay import replay
from shared.http.problems import Problem
from shared.runtime.postgres import Database, is_outage, reading
from shared.runtime.reasons import reason

READ_DEADLINE_S: Final = 20.0
CONNECTIONS: Final = 2


class ReadStream(NamedTuple):
    version: int
    state: State


class StreamReader:
    def __init__(self, write_db_url: str) -> None:
        self._database = Database(write_db_url, read_only=True, max_size=CONNECTIONS)

    async def read(self, stream: str, aggregate: Aggregate) -> ReadStream | None:
        """None: there is no such stream. Raises Problem while the database is unavailable, and for a state that cannot be replayed."""
        try:
            async with asyncio.timeout(READ_DEADLINE_S):
                found = await reading(lambda: self._read(stream, aggregate))
        except Exception as error:
            if not is_outage(error):
                raise
            detail = "the write database cannot be read at the moment"
            raise Problem(detail, status=503, code="store-unavailable", headers={"Retry-After": "1"}) from error
        return found

    async def close(self) -> None:
        await self._database.close()

    async def _read(self, stream: str, aggregate: Aggregate) -> ReadStream | None:
        pool = await self._database.pool()
        async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
            row = await connection.fetchrow(STREAMS_BY_NAME, [stream])
            if row is None:
                return None
            state: State | Exception | None = aggregate.restored(row["state"], row["state_version"])
            if state is None:
                state = await replay(connection, stream, aggregate, row["version"])
            if isinstance(state, Exception):
                detail = f"the state of {stream} is of older code, and its events cannot be replayed: {reason(state)}"
                raise Problem(detail, status=500, code="state-unreadable") from state
            return ReadStream(row["version"], state)
