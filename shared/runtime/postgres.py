"""PostgreSQL: connections, what counts as an outage, and migrations."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import asyncpg

from shared.observability.connections import watch_pool
from shared.runtime.connecting.current_url import connected
from shared.runtime.roles import READER

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

T = TypeVar("T")

Connection: TypeAlias = "asyncpg.Connection | PoolConnectionProxy"
"""A connection, opened directly or acquired from a pool."""

CONNECT_TIMEOUT_S: Final = 5.0
COMMAND_TIMEOUT_S: Final = 30.0
CLOSE_TIMEOUT_S: Final = 2.0
LOST: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    ConnectionResetError,
)
"""The errors of a connection that is lost, or whose end has begun."""
READ_AGAIN_AFTER_S: Final = (0.02, 0.1, 0.3)
LOCK_TIMEOUT: Final = "4s"
"""A longer wait for a lock fails and is retried, so that the reason is known and can be reported."""

KEY_LOOKUPS: Final = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
}
"""Session settings for statements that access rows only by key, while tables grow from empty to millions of rows and statistics lag
behind: no plan scans a whole table. So plans need not depend on the parameters either, and each is made once (generic plan)."""

# SQLSTATE classes (PostgreSQL, appendix A) for errors of the data or the statement: a retry never helps.
_PERMANENT_CLASSES: Final = frozenset(
    {
        *("03", "0A", "0B", "20", "21", "22", "23", "24", "27", "2B", "2D", "34", "3B", "42", "44", "54"),
        *("09", "2F", "38", "39", "P0"),  # raised by functions and triggers
    }
)
# States of these classes that are resolved from outside. A missing migration or grant: undefined column, table, function, object;
# insufficient privilege. A pooler in front of the server: duplicate prepared statement.
_TRANSIENT_STATES: Final = frozenset({"42703", "42P01", "42883", "42704", "42501", "42P05"})

_CREATE_LEDGER: Final = """
CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())
"""
_APPLIED: Final = "SELECT name FROM migrations"
_RECORD: Final = "INSERT INTO migrations (name) VALUES ($1)"
LOCK_MIGRATIONS: Final = "SELECT pg_advisory_xact_lock(hashtextextended('tidemark migrations', 0))"
_ROLE_EXISTS: Final = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)"
_MAY_USE_SCHEMA: Final = """
SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = $1 AND nspname <> 'public'
"""
# All that a migration makes. What belongs to a table (indexes, row types, sequences of identity columns) changes its owner with it.
_OWNED_BY_OTHERS: Final = """
WITH role AS (SELECT oid FROM pg_roles WHERE rolname = $2), schema AS (SELECT oid, nspowner FROM pg_namespace WHERE nspname = $1)
SELECT format('ALTER SCHEMA %I OWNER TO %I', $1, $2) FROM schema, role WHERE nspowner <> role.oid
UNION ALL
SELECT format('ALTER TABLE %s OWNER TO %I', found.oid::regclass, $2)
FROM pg_class AS found JOIN schema ON relnamespace = schema.oid CROSS JOIN role
WHERE relowner <> role.oid AND (relkind IN ('r', 'p', 'v', 'm') OR relkind = 'S' AND NOT EXISTS (
    SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = found.oid AND deptype IN ('a', 'i')
))
UNION ALL
SELECT format('ALTER ROUTINE %s OWNER TO %I', found.oid::regprocedure, $2)
FROM pg_proc AS found JOIN schema ON pronamespace = schema.oid CROSS JOIN role WHERE proowner <> role.oid
UNION ALL
SELECT format('ALTER TYPE %s OWNER TO %I', found.oid::regtype, $2)
FROM pg_type AS found JOIN schema ON typnamespace = schema.oid CROSS JOIN role
LEFT JOIN pg_class ON pg_class.oid = typrelid
WHERE typowner <> role.oid AND (typtype IN ('d', 'e', 'r') OR relkind = 'c')
"""


def is_outage(error: BaseException) -> bool:
    """Whether the server or the network is the cause (retry later), not the data or the statement.

    Deadlocks, timeouts, full disks, too many connections, shutdown, a lost connection, a read-only standby, and unknown errors
    all count as outages. So does a missing table or column: new code waits for its migration. That every statement refers only to
    tables and columns of some migration is ensured by tests, which prepare them all.
    """
    if isinstance(error, asyncpg.InvalidCachedStatementError):
        return True  # a migration has just changed the table: class 0A, and resolved at the next attempt
    if isinstance(error, asyncpg.PostgresError):
        return error.sqlstate in _TRANSIENT_STATES or str(error.sqlstate)[:2] not in _PERMANENT_CLASSES
    return isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError | OSError | TimeoutError)


async def connect(url: str, **options: Any) -> asyncpg.Connection:
    """A connection by the URL as its setting has it now (``connecting.current_url``); ``options`` as of ``asyncpg.connect``.

    Raises errors for which ``is_outage`` is true when the server is unavailable.
    """

    async def by(current: str) -> asyncpg.Connection:
        return await asyncpg.connect(current, **options)

    return await connected(url, by, lambda error: isinstance(error, asyncpg.InvalidAuthorizationSpecificationError))


async def reading(step: Callable[[], Awaitable[T]]) -> T:
    """The result of a step that acquires a connection and only reads: again where that connection is lost, after READ_AGAIN_AFTER_S.

    An administrator may close any connection, as after a password was replaced; the next one works. A pool may give out the lost one
    once more, for between the server's last message and the end of the connection the driver does not know yet.
    """
    for pause in READ_AGAIN_AFTER_S:
        try:
            return await step()
        except LOST:
            await asyncio.sleep(pause)
    return await step()


async def connect_pool(
    url: str,
    *,
    schema: str = "public",
    read_only: bool = False,
    min_size: int = 1,
    max_size: int = 4,
    session: Mapping[str, str] | None = None,
) -> asyncpg.Pool:
    """A pool whose connections have ``schema`` first in their search_path; ``session``: further server settings for them.

    Raises errors for which ``is_outage`` is true when the server is unavailable.
    """

    async def connect_one(*_: Any, **options: Any) -> asyncpg.Connection:
        return await connect(url, **options)

    pool = await asyncpg.create_pool(
        connect=connect_one,
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
        reset=_no_reset,
    )
    watch_pool(pool, schema)
    return pool


async def _no_reset(_: Connection) -> None:
    """The pool rolls back an open transaction anyway; our statements leave no other session state, and this saves a round trip."""


class Database:
    """A pool that is created on first use, so that a process can start and wait while its server is unavailable."""

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
        """The pool. Raises errors for which ``is_outage`` is true when the server is unavailable."""
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

    async def read(self, step: Callable[[Connection], Awaitable[T]]) -> T:
        """The result of a step that only reads, with a connection of the pool; see ``reading``."""

        async def once() -> T:
            pool = await self.pool()
            async with pool.acquire() as connection:
                return await step(connection)

        return await reading(once)

    async def close(self) -> None:
        """Close the connections: gracefully for CLOSE_TIMEOUT_S, then by terminating them."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await pool.close()
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            pool.terminate()


async def migrate(
    url: str, migrations: Iterable[Path], *, schema: str = "public", owner: str | None = None, readable: bool = False
) -> list[str]:
    """Apply the ``.sql`` files that are not applied yet, in order, in one transaction; return their names.

    Safe to run concurrently and repeatedly. ``owner``: the role that owns the schema and all in it afterwards, where that role exists,
    whatever older code has made. ``readable``: grants the role ``tidemark_reader``, where it exists, read access to every table of the
    schema. Raises InsufficientPrivilegeError for a schema that a role has made that this one is not a member of.
    """
    connection = await connect(url, timeout=CONNECT_TIMEOUT_S, command_timeout=300)
    try:
        async with connection.transaction():
            await connection.execute(LOCK_MIGRATIONS)
            quoted = await connection.fetchval("SELECT quote_ident($1)", schema)
            await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted}")
            if await connection.fetchval(_MAY_USE_SCHEMA, schema) is False:
                # Any role that may make schemas could make this one first, with functions of its own in it.
                raise asyncpg.InsufficientPrivilegeError(f"the schema {schema} belongs to another role")
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
            if owner is not None and await connection.fetchval(_ROLE_EXISTS, owner):
                for row in await connection.fetch(_OWNED_BY_OTHERS, schema, owner):
                    await connection.execute(row[0])
            if readable and await connection.fetchval(_ROLE_EXISTS, READER):
                await connection.execute(f"GRANT USAGE ON SCHEMA {quoted} TO {READER}")
                await connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {quoted} TO {READER}")
            return done
    finally:
        await connection.close(timeout=5)
