"""A PostgreSQL read model under verification: positions and rows of some streams in one snapshot, compared by the server.

The expected rows are sent to the server as JSON, and only rows that differ are returned: equal rows are not transferred, and values
are compared by the types of their columns.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic

import asyncpg
import msgspec
from pydantic_core import from_json

from deploy.verify.errors import server_errors
from deploy.verify.findings import ModelProgress, differing
from deploy.verify.laws.stated import misstated
from deploy.verify.models import Changes, Problems, Snapshot, fold_applicable, fold_problems
from projectors.stores import postgres_positions
from projectors.stores.port import Advance, Position
from projectors.stores.tables import Retention, Table, fold_of, retention_of, tables_of
from shared.runtime.postgres import connect_pool
from shared.views.generations import ACTIVE, FIRST, generation_name, registry_schema

PREFETCH: Final = 1000
WORKERS: Final = 4
PREFER_INDEXES: Final = {"enable_seqscan": "off", "plan_cache_mode": "force_custom_plan"}
"""Statistics may be out of date: a page of rows is still found by its keys."""

PROGRESS: Final = "SELECT min(as_of) AS as_of, coalesce(sum(events_applied), 0)::bigint AS events FROM progress"
POSITIONS: Final = "SELECT stream FROM positions UNION ALL SELECT stream FROM held"
HAS_DISCARDED: Final = "SELECT to_regclass('discarded') IS NOT NULL"
DISCARDED: Final = "SELECT stream, version FROM discarded WHERE stream = ANY ($1::text[])"
ALLOW_SEQSCAN: Final = "SET LOCAL enable_seqscan = on"
TABLE_STATEMENTS: Final = Path(__file__).with_name("verify_table.sql").read_text()
_UNMIGRATED: Final = (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError)


@dataclass(frozen=True)
class VerifiedTable(Generic[Changes]):
    """A table with the statements that PostgreSQL has built for it."""

    described: Table[Changes]
    differing: str
    """Given ids and the rows as JSON: (id, key, found, expected) of every row that differs."""
    strays: str
    """(stream) of rows whose stream has no position."""


class PostgresModel(Generic[Changes]):
    def __init__(
        self,
        name: str,
        generation: int,
        pool: asyncpg.Pool,
        fold: Callable[[Sequence[Advance]], Changes],
        tables: Sequence[VerifiedTable[Changes]],
        *,
        keeps_discarded: bool,
        retention: Retention[Changes] | None,
    ) -> None:
        self.name = name
        self.generation = generation
        self._pool = pool
        self._fold = fold
        self._tables = tables
        self._keeps_discarded = keeps_discarded
        self._retention = retention

    @asynccontextmanager
    async def snapshot(self, streams: Sequence[str]) -> AsyncIterator[Snapshot]:
        with server_errors(self.name):
            async with (
                self._pool.acquire() as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                positions = await postgres_positions.positions(connection, streams)
                discarded: dict[str, frozenset[int]] = {}
                if self._keeps_discarded:
                    for row in await connection.fetch(DISCARDED, list(streams)):
                        discarded[row["stream"]] = discarded.get(row["stream"], frozenset()) | {row["version"]}
                yield _Snapshot(
                    connection, list(streams), positions, discarded, self._fold, self._tables, self._retention
                )

    async def progress(self) -> ModelProgress:
        with server_errors(self.name):
            [row] = await self._pool.fetch(PROGRESS)
            return ModelProgress(row["as_of"], row["events"])

    async def mentioned_streams(self) -> AsyncIterator[list[str]]:
        for statement in (POSITIONS, *(table.strays for table in self._tables)):
            with server_errors(self.name):
                async with self._pool.acquire() as connection, connection.transaction(readonly=True):
                    await connection.execute(ALLOW_SEQSCAN)
                    cursor = await connection.cursor(statement, timeout=None)
                    while rows := await cursor.fetch(PREFETCH):
                        yield [row["stream"] for row in rows]

    async def close(self) -> None:
        self._pool.terminate()


class _Snapshot(Generic[Changes]):
    def __init__(
        self,
        connection: Any,
        streams: Sequence[str],
        positions: Mapping[str, Position],
        discarded: Mapping[str, frozenset[int]],
        fold: Callable[[Sequence[Advance]], Changes],
        tables: Sequence[VerifiedTable[Changes]],
        retention: Retention[Changes] | None,
    ) -> None:
        self._connection = connection
        self._streams = streams
        self.positions = positions
        self.discarded = discarded
        self._fold = fold
        self._tables = tables
        self._retention = retention

    async def problems(
        self, advances: Sequence[Advance], unreadable: Mapping[str, str], versions: Mapping[str, int]
    ) -> Problems:
        changes, failed = fold_applicable(self._fold, advances)
        if self._retention is not None:
            changes = self._retention.keep(changes, await self._connection.fetchval(self._retention.horizon))
        found = fold_problems({**unreadable, **failed})
        compared = [stream for stream in self._streams if stream not in found]
        for table in self._tables:
            described = table.described
            ids = described.ids(compared)
            if not ids:
                continue
            expected = described.rows(changes)
            rows = msgspec.json.encode(expected).decode()
            for row_id, key, have, want in await self._connection.fetch(table.differing, ids, rows):
                problem = differing(want and from_json(want), have and from_json(have))
                stream = described.stream_of(row_id)
                found.setdefault(stream, []).append({"table": described.name, "key": key, **problem})
            for row_id, problems in misstated(described, expected, advances).items():
                found.setdefault(described.stream_of(row_id), []).extend(problems)
        return found


async def open_postgres(projection: str, url: str, generation: int | None) -> PostgresModel[Any]:
    """Any read model in PostgreSQL, by its descriptors. ``generation``: None is the active one. Raises ServerUnavailableError."""
    with server_errors(projection):
        number = generation or await _active_generation(projection, url)
        schema = generation_name(projection, number)
        pool = await connect_pool(url, schema=schema, read_only=True, max_size=WORKERS, session=PREFER_INDEXES)
        keeps = await pool.fetchval(HAS_DISCARDED)
        tables = [await with_statements(pool, table.verified_through or table) for table in tables_of(projection)]
        return PostgresModel(
            projection,
            number,
            pool,
            fold_of(projection),
            tables,
            keeps_discarded=keeps,
            retention=retention_of(projection),
        )


async def with_statements(connection: Any, table: Table[Changes]) -> VerifiedTable[Changes]:
    row = await connection.fetchrow(
        TABLE_STATEMENTS,
        table.name,
        table.verified,
        table.key,
        table.json,
        table.kind,
        table.stream,
        list(table.replaces),
        list(table.replaces.values()),
    )
    return VerifiedTable(table, row["differing"], row["strays"])


async def _active_generation(projection: str, url: str) -> int:
    pool = await connect_pool(url, schema=registry_schema(projection), read_only=True, max_size=1)
    try:
        return await pool.fetchval(ACTIVE) or FIRST
    except _UNMIGRATED:
        return FIRST
    finally:
        pool.terminate()
