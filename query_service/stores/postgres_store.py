"""A read store in PostgreSQL: read-only, lazily connected, every statement within the deadline.

Connections are taken from the pool once and kept: releasing one costs a round trip to reset it, and a read-only connection has nothing
to reset. A connection is closed after any error, never reused.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Self

import asyncpg

from query_service.consistency.as_of import AsOf
from query_service.http.problems import GenerationGoneError, StoreDownError
from query_service.stores.active_generation import Pointer
from query_service.stores.port import DEADLINE_S, Hold, LaneProgress, Pause, ProjectionProgress, StreamPosition
from shared.runtime.postgres import connect_pool, is_outage, reading
from shared.views.generations import FIRST, GENERATIONS, Generation, generation_name, registry_schema, stopped

CONNECTIONS: Final = 8
MIN_WORD_SIMILARITY: Final = 0.45
"""Minimum ``word_similarity`` at which a word counts as a misspelling, not as a different word."""

# Session settings: the server times out slightly before the client; searches with many matches stay in memory.
_SESSION: Final = {
    "statement_timeout": f"{int(DEADLINE_S * 900)}ms",
    "work_mem": "32MB",
    "pg_trgm.word_similarity_threshold": str(MIN_WORD_SIMILARITY),
}

_POINTER: Final = "SELECT number, epoch, kinds, moving_to, ahead, examples FROM generations WHERE active"
# Before 1971: see SEEN_SINCE in shared/views/progress.py.
_AS_OF: Final = """
SELECT CASE WHEN count(*) = count(*) FILTER (WHERE as_of >= '1971-01-01Z') THEN min(as_of) END FROM progress
"""
# LIMIT makes each of them an index lookup, regardless of the statistics; the subquery hides the number of streams from the planner,
# which would otherwise plan again for each number.
_POSITIONS: Final = """
SELECT wanted.stream, coalesce(position.applied, 0) AS applied, hold.status, hold.version, hold.reason, hold.seen
FROM unnest((SELECT $1::text[])) AS wanted (stream)
LEFT JOIN LATERAL (SELECT applied FROM positions WHERE stream = wanted.stream LIMIT 1) AS position ON true
LEFT JOIN LATERAL (
    SELECT status, version, reason, seen FROM held
    WHERE stream = wanted.stream AND version > coalesce(position.applied, 0)
    LIMIT 1
) AS hold ON true
WHERE position.applied IS NOT NULL OR hold.status IS NOT NULL
"""
_PROGRESS: Final = """
SELECT CASE WHEN count(*) = count(*) FILTER (WHERE as_of >= '1971-01-01Z') THEN min(as_of) END AS as_of,
       coalesce(sum(events_applied), 0)::bigint AS events_applied,
       (SELECT count(*) FROM held) AS held,
       (SELECT min(first_failed_at) FROM held) AS held_since
FROM progress
"""
_LANES: Final = """
SELECT lane, CASE WHEN as_of >= '1971-01-01Z' THEN as_of END AS as_of, events_applied FROM progress ORDER BY lane
"""


class PostgresStore:
    """One generation of a projection, and its registry. ``schema``: that of the first generation.

    Raises StoreDownError for outages and timeouts, GenerationGoneError if the tables do not exist. Other errors are the statement's own.
    """

    def __init__(
        self,
        projection: str,
        url: str,
        schema: str,
        number: int = FIRST,
        *,
        session: Mapping[str, str] | None = None,
    ) -> None:
        """``session``: further server settings of its connections."""
        self._session = {**_SESSION, **(session or {})}
        self.projection = projection
        self.number = number
        self._url = url
        self._schema = schema
        self._pool: asyncpg.Pool | None = None
        self._idle: list[Any] = []
        self._slots = asyncio.Semaphore(CONNECTIONS)
        self._opening = asyncio.Lock()
        self._pause = Pause(projection)
        self._as_of = AsOf(self._read_as_of)

    def generation(self, number: int) -> Self:
        return type(self)(self.projection, self._url, self._schema, number)

    async def pointer(self) -> Pointer:
        try:
            row = await self.fetchrow(_POINTER)
        except GenerationGoneError:  # no registry: the installation is older than generations
            row = None
        if row is None:
            return Pointer()
        number, epoch, kinds, *stopped_by = row
        return Pointer(number, epoch, stopped(self.projection, *stopped_by), kinds)

    async def generations(self) -> list[Generation]:
        """All generations of the projection, from the registry; empty: it is older than the registry, and there is only the first."""
        try:
            return [Generation(**row) for row in await self.fetch(GENERATIONS)]
        except GenerationGoneError:
            return []

    async def headers(self) -> Mapping[str, str]:
        return await self._as_of.headers()

    async def fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        self._pause.check()
        try:
            async with asyncio.timeout(DEADLINE_S), self._slots:
                return await reading(lambda: self._run(statement, arguments))
        except TimeoutError as error:
            raise self._pause.failed("it did not answer in time", error) from error
        except asyncpg.QueryCanceledError as error:
            # The store is available; only this statement takes too long.
            raise StoreDownError(self.projection, "the question took too long") from error
        except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError) as error:
            raise GenerationGoneError(self.projection, self.number) from error
        except Exception as error:
            if not is_outage(error):
                raise
            raise self._pause.failed(_reason(error), error) from error

    async def fetchrow(self, statement: str, *arguments: object) -> asyncpg.Record | None:
        """The only row, or None. Not for statements that return several rows."""
        rows = await self.fetch(statement, *arguments)
        return rows[0] if rows else None

    async def positions(self, streams: Sequence[str]) -> Mapping[str, StreamPosition]:
        rows = await self.fetch(_POSITIONS, list(streams))
        return {
            row["stream"]: StreamPosition(
                row["applied"],
                Hold(row["status"], row["version"], row["reason"], row["seen"]) if row["status"] else None,
            )
            for row in rows
        }

    async def progress(self) -> ProjectionProgress:
        (row,) = await self.fetch(_PROGRESS)
        return ProjectionProgress(row["as_of"], row["events_applied"], row["held"], row["held_since"])

    async def lanes(self) -> list[LaneProgress]:
        """By lane: those of which anything has arrived."""
        return [LaneProgress(*row) for row in await self.fetch(_LANES)]

    async def ping(self) -> None:
        await self.fetch(_AS_OF)

    async def close(self) -> None:
        self._idle.clear()
        if self._pool is not None:
            self._pool.terminate()

    async def _run(self, statement: str, arguments: tuple[object, ...]) -> list[asyncpg.Record]:
        pool = await self._opened()
        connection = await self._connection(pool)
        try:
            rows: list[asyncpg.Record] = await connection.fetch(statement, *arguments)
        except BaseException:
            # Terminated before release, so that the release does not wait for a server that may never answer.
            with contextlib.suppress(asyncpg.InterfaceError):
                connection.terminate()
            await pool.release(connection)
            raise
        self._idle.append(connection)
        return rows

    async def _connection(self, pool: asyncpg.Pool) -> Any:
        while self._idle:
            connection = self._idle.pop()
            if not _is_closed(connection):
                return connection
            await pool.release(connection)
        return await pool.acquire()

    async def _opened(self) -> asyncpg.Pool:
        """The pool, created without connections: none is opened in the background."""
        if self._pool is None:
            async with self._opening:
                if self._pool is None:
                    schemas = f"{generation_name(self._schema, self.number)}, {registry_schema(self._schema)}"
                    self._pool = await connect_pool(
                        self._url,
                        schema=schemas,
                        read_only=True,
                        min_size=0,
                        max_size=CONNECTIONS,
                        session=self._session,
                    )
        return self._pool

    async def _read_as_of(self) -> datetime | None:
        row = await self.fetchrow(_AS_OF)
        return row[0] if row else None


def _is_closed(connection: Any) -> bool:
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:
        return True  # the connection was lost, and the pool has already released it


def _reason(error: Exception) -> str:
    """The reason shown to clients, without addresses, users or statements."""
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError | asyncpg.InvalidPasswordError):
        return "it refuses our credentials"
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return "its database does not exist"
    if isinstance(error, asyncpg.CannotConnectNowError):
        return "it is starting up or shutting down"
    if isinstance(error, OSError | asyncpg.PostgresConnectionError | asyncpg.InterfaceError):
        return "it cannot be reached"
    return f"it refuses with {type(error).__name__}"
