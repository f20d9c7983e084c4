"""Creates the databases and the roles in a new PostgreSQL: ``tidemark`` owns them, and each deployable has its own.

``deploy/postgres/roles.sql`` and ``database.sql`` are all of it, for docker compose and other servers, too. What a role may do is granted
by the migrations (``deploy/run/grants.py``). On a local server the owner may also create databases, for tests.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import asyncpg

import deploy
from deploy.servers.accounts.urls import ROLES
from shared.read_models import IN_POSTGRES

WRITE: Final = "tidemark_write"
READ: Final = "tidemark_read"
"""The database of all read models in PostgreSQL, each in its own schema."""
OPERATIONS: Final = "tidemark_operations"
PROCESSES: Final = "tidemark_processes"
"""The database of the process managers, each in its own schema."""
KEYS: Final = "tidemark_keys"
"""The keys of persons: who reads it can open what is sealed."""

NOT_READY_ERRORS: Final = (OSError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError)
"""The errors of a connection to a server that is still starting."""

_SQL: Final = Path(deploy.__file__).parent / "postgres"
CREATE_ROLES: Final = (_SQL / "roles.sql").read_text()
CLOSE_DATABASE: Final = (_SQL / "database.sql").read_text()
NAME_ROLES: Final = "SELECT set_config('tidemark.roles', $1, false)"
NEW_ROLES: Final = "SELECT rolname FROM pg_authid WHERE rolname = ANY ($1::text[]) AND rolpassword IS NULL"
LET_LOG_IN: Final = "SELECT format('ALTER ROLE %I PASSWORD %L', $1::text, $2::text)"
ALLOW_CREATEDB: Final = "ALTER ROLE tidemark CREATEDB"
HAS_DATABASE: Final = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)"
CREATE_DATABASE: Final = "SELECT format('CREATE DATABASE %I OWNER tidemark', $1::text)"
GRANT_CONNECT: Final = "SELECT format('GRANT CONNECT ON DATABASE %I TO tidemark_reader', $1::text)"


async def create(host: str, port: int, admin: str, admin_password: str, passwords: dict[str, str]) -> Mapping[str, str]:
    """Create the roles and databases that do not exist; ``passwords`` has one for each role. Returns each read model's database.

    That is READ, except for a read model for which an older version has created its own database ``tidemark_<name>``.

    Idempotent: an interrupted run is completed by the next. Raises one of ``NOT_READY_ERRORS`` while the server is starting.
    """

    async def connect(database: str) -> asyncpg.Connection:
        return await asyncpg.connect(
            host=host, port=port, user=admin, password=admin_password, database=database, timeout=20
        )

    connection = await connect("postgres")
    try:
        await connection.execute(NAME_ROLES, ",".join(ROLES))
        await connection.execute(CREATE_ROLES)
        for row in await connection.fetch(NEW_ROLES, list(ROLES)):
            role = row["rolname"]
            await connection.execute(await connection.fetchval(LET_LOG_IN, role, passwords[role]))
        await connection.execute(ALLOW_CREATEDB)
        read_databases = {model.name: READ for model in IN_POSTGRES}
        for name in read_databases:
            if await connection.fetchval(HAS_DATABASE, f"tidemark_{name}"):
                read_databases[name] = f"tidemark_{name}"
        every = dict.fromkeys((WRITE, KEYS, READ, OPERATIONS, PROCESSES, *read_databases.values()))
        for database in every:
            if not await connection.fetchval(HAS_DATABASE, database):
                await connection.execute(await connection.fetchval(CREATE_DATABASE, database))
    finally:
        await connection.close()
    for database in every:
        connection = await connect(database)
        try:
            await connection.execute(CLOSE_DATABASE)
            if database not in (WRITE, KEYS):
                await connection.execute(await connection.fetchval(GRANT_CONNECT, database))
        finally:
            await connection.close()
    return read_databases
