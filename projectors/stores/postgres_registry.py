"""The registry of generations of a PostgreSQL read store: the table ``generations`` in the schema ``<name>_registry``."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from projectors.generations import epoch_notes, epochs
from projectors.generations.registry import DEFAULT_GENERATION, AppliedPage
from projectors.stores.migrations import migrate
from projectors.stores.postgres_store import raising_unavailable
from shared.runtime.postgres import CONNECT_TIMEOUT_S, Connection, Database
from shared.views.generations import GENERATIONS, Generation, generation_name, registry_schema

LOCK_GENERATIONS: Final = "LOCK TABLE generations IN SHARE ROW EXCLUSIVE MODE"
ENSURE_FIRST: Final = """
INSERT INTO generations (number, state, active, ready_at, activated_at)
SELECT 1, 'ready', true, now(), now() WHERE NOT EXISTS (SELECT FROM generations)
"""
BEGIN: Final = "INSERT INTO generations (number, state, kinds, rate, begun_by) VALUES ($1, 'building', $2, $3, $4)"
EXISTS: Final = "SELECT EXISTS (SELECT FROM generations WHERE number = $1)"
ACTIVE_NUMBER: Final = "SELECT number FROM generations WHERE active"
CLAIM: Final = """
UPDATE generations SET updated_at = clock_timestamp() WHERE number = $1 AND updated_at = $2 RETURNING number
"""
TOUCH: Final = "UPDATE generations SET updated_at = clock_timestamp() WHERE number = $1"
SCANNED: Final = """
UPDATE generations SET
    cursor_stream = $4, cursor_version = $5, scanned = scanned + $6, total = coalesce(total, $7), done = $8,
    reads_since = coalesce(reads_since, $9), updated_at = clock_timestamp()
WHERE number = $1 AND cursor_stream = $2 AND cursor_version = $3 AND NOT done
RETURNING number
"""
SETTLED: Final = """
UPDATE generations SET settled = settled || $2::integer, updated_at = clock_timestamp()
WHERE number = $1 AND done AND NOT $2 = ANY (settled)
"""
READY: Final = """
UPDATE generations SET state = 'ready', ready_at = now(), updated_at = clock_timestamp()
WHERE number = $1 AND state = 'building' AND done
"""
IS_READY: Final = "SELECT EXISTS (SELECT FROM generations WHERE number = $1 AND state = 'ready')"
DEACTIVATE: Final = "UPDATE generations SET active = false WHERE active"
ACTIVATE: Final = """
UPDATE generations SET active = true, activated_at = clock_timestamp(), activated_by = $2 WHERE number = $1
"""
LOCKED: Final = """
SELECT number, state, active, begun_at, updated_at, epoch, former, moving_to, compare_cursor, compared, ahead, examples
FROM generations WHERE number = $1 FOR UPDATE
"""
EPOCHS: Final = """
UPDATE generations SET epoch = $2, former = $3, moving_to = $4, compare_cursor = $5, compared = $6, ahead = $7, examples = $8
WHERE number = $1
"""
NOTE_KINDS: Final = """
UPDATE generations SET kinds = $3::text[] WHERE number = $1 AND kinds IS NOT DISTINCT FROM $2::text[] RETURNING number
"""
DELETE_GENERATION: Final = "DELETE FROM generations WHERE number = $1 AND NOT active RETURNING number"


class PostgresRegistry(epoch_notes.EpochNotes):
    """``projectors.generations.registry.GenerationRegistry`` for one projection. ``first``: the first generation's schema, by default the
    projection's name."""

    def __init__(self, projection: str, url: str, *, first: str | None = None) -> None:
        self._projection = projection
        self._first = first or projection
        self._url = url
        self._database = Database(url, schema=registry_schema(self._first), max_size=2)

    async def open(self) -> None:
        with raising_unavailable():
            await self._database.pool()

    async def close(self) -> None:
        await self._database.close()

    async def generations(self) -> Sequence[Generation]:
        async with self._connection() as connection:
            try:
                rows = await connection.fetch(GENERATIONS)
            except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
                return [DEFAULT_GENERATION]
        return [Generation.model_validate(dict(row)) for row in rows] or [DEFAULT_GENERATION]

    async def begin(self, number: int, *, kinds: Sequence[str], rate: float | None, by: str) -> None:
        schema = generation_name(self._first, number)
        async with self._connection() as connection:
            if await connection.fetchval(EXISTS, number):
                return
            await _drop_schema(connection, schema)  # left behind by an interrupted request
        with raising_unavailable():
            await migrate(self._projection, self._url, schema=schema)
        async with self._connection() as connection, connection.transaction():
            await connection.execute(LOCK_GENERATIONS)
            await connection.execute(ENSURE_FIRST)
            if await connection.fetchval(EXISTS, number):
                return
            active = generation_name(self._first, await connection.fetchval(ACTIVE_NUMBER))
            await connection.execute(
                f"INSERT INTO {await _quoted(connection, schema)}.discarded (stream, version) "  # noqa: S608
                f"SELECT stream, version FROM {await _quoted(connection, active)}.discarded ON CONFLICT DO NOTHING"
            )
            await connection.execute(BEGIN, number, list(kinds), rate, by)
            before = await _locked(connection, await connection.fetchval(ACTIVE_NUMBER))
            if before is not None:
                await _note_epochs(connection, number, lambda _: epochs.epochs_for_new_generation(before))

    async def claim(self, seen: Generation) -> bool:
        async with self._connection() as connection:
            return await connection.fetchval(CLAIM, seen.number, seen.updated_at) is not None

    async def touch(self, number: int) -> None:
        async with self._connection() as connection:
            await connection.execute(TOUCH, number)

    async def scanned(self, number: int, page: AppliedPage) -> bool:
        values = (*page.after, *page.last, page.events, page.total, page.done, page.read_at)
        async with self._connection() as connection:
            return await connection.fetchval(SCANNED, number, *values) is not None

    async def settled(self, number: int, lane: int) -> None:
        async with self._connection() as connection:
            await connection.execute(SETTLED, number, lane)

    async def ready(self, number: int) -> None:
        async with self._connection() as connection:
            await connection.execute(READY, number)

    async def activate(self, number: int, *, by: str) -> bool:
        async with self._connection() as connection, connection.transaction():
            await connection.execute(LOCK_GENERATIONS)
            await connection.execute(ENSURE_FIRST)
            if not await connection.fetchval(IS_READY, number):
                return False
            await connection.execute(DEACTIVATE)
            await connection.execute(ACTIVATE, number, by)
            return True

    async def note_epochs(self, number: int, change: epoch_notes.Change) -> None:
        async with self._connection() as connection, connection.transaction():
            await connection.execute(ENSURE_FIRST)
            await _note_epochs(connection, number, change)

    async def note_kinds(self, number: int, before: Sequence[str] | None, kinds: Sequence[str]) -> bool:
        values = (None if before is None else list(before), list(kinds))
        async with self._connection() as connection, connection.transaction():
            await connection.execute(ENSURE_FIRST)
            return await connection.fetchval(NOTE_KINDS, number, *values) is not None

    async def drop(self, number: int) -> None:
        async with self._connection() as connection:
            if await connection.fetchval(DELETE_GENERATION, number) is None and await connection.fetchval(
                EXISTS, number
            ):
                return
            await _drop_schema(connection, generation_name(self._first, number))

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        with raising_unavailable():
            pool = await self._database.pool()
            async with pool.acquire(timeout=CONNECT_TIMEOUT_S) as connection:
                yield connection


async def _locked(connection: Connection, number: int) -> Generation | None:
    row = await connection.fetchrow(LOCKED, number)
    return None if row is None else Generation.model_validate(dict(row))


async def _note_epochs(connection: Connection, number: int, change: epoch_notes.Change) -> None:
    at = await _locked(connection, number)
    changes = change(at) if at is not None else {}
    if at is not None and changes:
        now = at.model_copy(update=changes)
        values = (now.epoch, now.former, now.moving_to, now.compare_cursor, now.compared, now.ahead, now.examples)
        await connection.execute(EPOCHS, number, *values)


async def _drop_schema(connection: Connection, schema: str) -> None:
    await connection.execute(f"DROP SCHEMA IF EXISTS {await _quoted(connection, schema)} CASCADE")


async def _quoted(connection: Connection, schema: str) -> str:
    return str(await connection.fetchval("SELECT quote_ident($1)", schema))
