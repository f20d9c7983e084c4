"""Creates the databases and the two roles in a new PostgreSQL: ``tidemark`` owns them, ``tidemark_reader`` only reads.

The reader cannot connect to the write database and the key database; the migrations that create the other tables grant what it may
read. On a local server the owner may also create databases, for tests.
``deploy/postgres/init.sh`` does the same for docker compose.
"""

from collections.abc import Mapping
from typing import Final

import asyncpg

from shared.read_models import IN_POSTGRES

WRITE: Final = "tidemark_write"
READ: Final = "tidemark_read"
"""The database of all read models in PostgreSQL, each in its own schema."""
OPERATIONS: Final = "tidemark_operations"
PROCESSES: Final = "tidemark_processes"
"""The database of the process managers, each in its own schema."""
KEYS: Final = "tidemark_keys"
"""The keys of persons: who reads it can open what is sealed, so the reader cannot."""
OWNER: Final = "tidemark"
READER: Final = "tidemark_reader"

NOT_READY_ERRORS: Final = (OSError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError)
"""The errors of a connection to a server that is still starting."""

HAS_ROLE: Final = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)"
CREATE_ROLE: Final = "SELECT format('CREATE ROLE %I LOGIN PASSWORD %L', $1::text, $2::text)"
ALLOW_CREATEDB: Final = "ALTER ROLE tidemark CREATEDB"
MAKE_READER_READ_ONLY: Final = "ALTER ROLE tidemark_reader SET default_transaction_read_only = on"
HAS_DATABASE: Final = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)"
CREATE_DATABASE: Final = "SELECT format('CREATE DATABASE %I OWNER tidemark', $1::text)"
REVOKE_PUBLIC: Final = "SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', $1::text)"
GRANT_READER: Final = "SELECT format('GRANT CONNECT ON DATABASE %I TO tidemark_reader', $1::text)"
RESTRICT_PUBLIC_SCHEMA: Final = "REVOKE CREATE ON SCHEMA public FROM PUBLIC; GRANT ALL ON SCHEMA public TO tidemark"


async def create(host: str, port: int, admin: str, admin_password: str, passwords: dict[str, str]) -> Mapping[str, str]:
    """Create the roles and databases that do not exist; ``passwords`` has one for each role. Returns each read model's database.

    That is READ, except for a read model for which an older version has created its own database ``tidemark_<name>``.

    Idempotent: an interrupted run is completed by the next. Raises one of ``NOT_READY_ERRORS`` while the server is starting.
    """

    async def connect(database: str) -> asyncpg.Connection:
        return await asyncpg.connect(
            host=host, port=port, user=admin, password=admin_password, database=database, timeout=20
        )

    readable = (READ, OPERATIONS, PROCESSES)
    connection = await connect("postgres")
    try:
        for role in (OWNER, READER):
            if not await connection.fetchval(HAS_ROLE, role):
                await connection.execute(await connection.fetchval(CREATE_ROLE, role, passwords[role]))
        await connection.execute(ALLOW_CREATEDB)
        await connection.execute(MAKE_READER_READ_ONLY)
        read_databases = {model.name: READ for model in IN_POSTGRES}
        for name in read_databases:
            if await connection.fetchval(HAS_DATABASE, f"tidemark_{name}"):
                read_databases[name] = f"tidemark_{name}"
        for database in (WRITE, KEYS, *readable):
            if not await connection.fetchval(HAS_DATABASE, database):
                await connection.execute(await connection.fetchval(CREATE_DATABASE, database))
            await connection.execute(await connection.fetchval(REVOKE_PUBLIC, database))
        for database in readable:
            await connection.execute(await connection.fetchval(GRANT_READER, database))
    finally:
        await connection.close()
    for database in (WRITE, KEYS, *readable):
        connection = await connect(database)
        try:
            await connection.execute(RESTRICT_PUBLIC_SCHEMA)
        finally:
            await connection.close()
    return read_databases
