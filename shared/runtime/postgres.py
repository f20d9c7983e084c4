"""PostgreSQL: connections, what counts as an outage, and migrations."""

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import asyncpg

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

Connection: TypeAlias = "asyncpg.Connection | PoolConnectionProxy"
"""A connection, of one's own or lent by a pool."""

CONNECT_TIMEOUT_S: Final = 5.0
COMMAND_TIMEOUT_S: Final = 30.0
CLOSE_TIMEOUT_S: Final = 2.0
LOCK_TIMEOUT: Final = "4s"
"""Whoever waits longer for what somebody else has locked is told so, and waits again: then the reason is known, and said."""

BY_KEY_ONLY: Final = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
}
"""For sessions whose statements touch rows by their keys and nothing else, while tables grow from nothing to millions of rows under
statistics that lag behind: no plan reads a table whole. So none depends on what is asked for either, and each is made once."""

# SQLSTATE classes (PostgreSQL, appendix A) in which the data or the statement is at fault: the same again never helps.
_AT_FAULT: Final = frozenset(
    {
        *("03", "0A", "0B", "20", "21", "22", "23", "24", "27", "2B", "2D", "34", "3B", "42", "44", "54"),
        *("09", "2F", "38", "39", "P0"),  # what functions and triggers raise
    }
)
# What belongs to these classes and is cured from outside. A migration or a grant that has not come yet: undefined column, table,
# function, object; insufficient privilege. A pooler between us and the server: duplicate prepared statement.
_CURED: Final = frozenset({"42703", "42P01", "42883", "42704", "42501", "42P05"})

_CREATE_LEDGER: Final = """
CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())
"""
_APPLIED: Final = "SELECT name FROM migrations"
_RECORD: Final = "INSERT INTO migrations (name) VALUES ($1)"
_ONE_AT_A_TIME: Final = "SELECT pg_advisory_xact_lock(hashtextextended('tidemark migrations', 0))"
_READER_EXISTS: Final = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tidemark_reader')"


def is_outage(error: BaseException) -> bool:
    """Whether this is the server's or the network's trouble (retry later), not that of the data or the statement at hand.

    Deadlocks, timeouts, full disks, too many connections, shutdown, a lost connection, a standby that only reads, and errors nobody knows
    all count as outages. So does a table or a column that is not there: new code waits for its migration. That no statement names
    one that is in no migration is for tests to see, which prepare them all.
    """
    if isinstance(error, asyncpg.InvalidCachedStatementError):
        return True  # a migration has just changed the table: of class 0A, and gone the next time
    if isinstance(error, asyncpg.PostgresError):
        return error.sqlstate in _CURED or str(error.sqlstate)[:2] not in _AT_FAULT
    return isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError | OSError | TimeoutError)


async def connect_pool(
    url: str,
    *,
    schema: str = "public",
    read_only: bool = False,
    min_size: int = 1,
    max_size: int = 4,
    session: Mapping[str, str] | None = None,
) -> asyncpg.Pool:
    """A pool whose connections see ``schema`` first; ``session`` has more of the server's settings for them.

    Raises what ``is_outage`` recognises when the server is away.
    """
    return await asyncpg.create_pool(
        url,
        min_size=min_size,
        max_size=max_size,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=COMMAND_TIMEOUT_S,
        server_settings={
            "search_path": f"{schema}, public",
            "timezone": "UTC",
            "application_name": "tidemark",
            "default_transaction_read_only": "on" if read_only else "off",
            "idle_in_transaction_session_timeout": "60s",
            "lock_timeout": LOCK_TIMEOUT,
            "jit": "off",
            **(session or {}),
        },
        reset=_nothing_to_reset,
    )


async def _nothing_to_reset(_: Connection) -> None:
    """An open transaction is rolled back all the same; our statements leave nothing else behind, and a round trip is saved."""


class Database:
    """A pool that is made when it is first needed, so that a process starts, and waits, while its server is away."""

    def __init__(
        self,
        url: str,
        *,
        schema: str = "public",
        read_only: bool = False,
        max_size: int = 2,
        session: Mapping[str, str] | None = None,
    ) -> None:
        self._session = session
        self._url = url
        self._schema = schema
        self._read_only = read_only
        self._max_size = max_size
        self._connecting = asyncio.Lock()
        self._pool: asyncpg.Pool | None = None

    async def pool(self) -> asyncpg.Pool:
        """Raises what ``is_outage`` recognises when the server is away."""
        async with self._connecting:
            if self._pool is None:
                self._pool = await connect_pool(
                    self._url,
                    schema=self._schema,
                    read_only=self._read_only,
                    max_size=self._max_size,
                    session=self._session,
                )
            return self._pool

    async def close(self) -> None:
        """Give up the connections, politely for a moment, then at once."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await pool.close()
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            pool.terminate()


async def migrate(url: str, migrations: Iterable[Path], *, schema: str = "public", readable: bool = False) -> list[str]:
    """Apply the ``.sql`` files not applied yet, in order, in one transaction; returns their names.

    Safe to run by several processes at once and again at any time. ``readable``: the role ``tidemark_reader``,
    where it exists, may read every table of the schema.
    """
    connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S, command_timeout=300)
    try:
        async with connection.transaction():
            await connection.execute(_ONE_AT_A_TIME)
            quoted = await connection.fetchval("SELECT quote_ident($1)", schema)
            await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted}")
            await connection.execute("SELECT set_config('search_path', $1, true)", f"{quoted}, public")
            await connection.execute(_CREATE_LEDGER)
            applied = {row["name"] for row in await connection.fetch(_APPLIED)}
            done = []
            for path in migrations:
                if path.name in applied:
                    continue
                await connection.execute(await asyncio.to_thread(path.read_text))
                await connection.execute(_RECORD, path.name)
                done.append(path.name)
            if readable and await connection.fetchval(_READER_EXISTS):
                await connection.execute(f"GRANT USAGE ON SCHEMA {quoted} TO tidemark_reader")
                await connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {quoted} TO tidemark_reader")
            return done
    finally:
        await connection.close(timeout=5)
