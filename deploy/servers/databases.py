"""The databases and the two roles of a fresh PostgreSQL: ``tidemark`` owns them, ``tidemark_reader`` only reads.

The reader cannot connect to the write database at all; which tables it may read elsewhere is granted by the
migrations that make them. On a local server the owner may also create databases, which tests do.
``deploy/postgres/init.sh`` says the same for docker compose.
"""

from collections.abc import Mapping
from typing import Final

import asyncpg

from shared.read_models import READ_MODELS, StoreKind

WRITE: Final = "tidemark_write"
READ: Final = "tidemark_read"
"""Of all read models in PostgreSQL, each in a schema of its own."""
OPERATIONS: Final = "tidemark_operations"
OWNER: Final = "tidemark"
READER: Final = "tidemark_reader"

NOT_YET: Final = (OSError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError)
"""What a connection to a server that is still starting fails with."""

HAS_ROLE: Final = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)"
ROLE: Final = "SELECT format('CREATE ROLE %I LOGIN PASSWORD %L', $1::text, $2::text)"
MAY_CREATE: Final = "ALTER ROLE tidemark CREATEDB"
READS_ONLY: Final = "ALTER ROLE tidemark_reader SET default_transaction_read_only = on"
HAS_DATABASE: Final = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)"
DATABASE: Final = "SELECT format('CREATE DATABASE %I OWNER tidemark', $1::text)"
NOBODY: Final = "SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', $1::text)"
READERS: Final = "SELECT format('GRANT CONNECT ON DATABASE %I TO tidemark_reader', $1::text)"
SCHEMA: Final = "REVOKE CREATE ON SCHEMA public FROM PUBLIC; GRANT ALL ON SCHEMA public TO tidemark"


async def create(host: str, port: int, admin: str, admin_password: str, passwords: dict[str, str]) -> Mapping[str, str]:
    """Make the roles and databases that are not there yet; ``passwords`` has one for each role. Returns each read model's database.

    That is READ, but where an older version has made one of its own, ``tidemark_<name>``, the read model stays there.

    May be repeated: what was done half is completed. Raises one of ``NOT_YET`` while the server is starting.
    """

    async def connect(database: str) -> asyncpg.Connection:
        return await asyncpg.connect(
            host=host, port=port, user=admin, password=admin_password, database=database, timeout=20
        )

    readable = (READ, OPERATIONS)
    connection = await connect("postgres")
    try:
        for role in (OWNER, READER):
            if not await connection.fetchval(HAS_ROLE, role):
                await connection.execute(await connection.fetchval(ROLE, role, passwords[role]))
        await connection.execute(MAY_CREATE)
        await connection.execute(READS_ONLY)
        own = {
            model.name: f"tidemark_{model.name}"
            for model in READ_MODELS
            if model.store is StoreKind.POSTGRES and await connection.fetchval(HAS_DATABASE, f"tidemark_{model.name}")
        }
        for database in (WRITE, *readable):
            if not await connection.fetchval(HAS_DATABASE, database):
                await connection.execute(await connection.fetchval(DATABASE, database))
            await connection.execute(await connection.fetchval(NOBODY, database))
        for database in readable:
            await connection.execute(await connection.fetchval(READERS, database))
    finally:
        await connection.close()
    for database in (WRITE, *readable):
        connection = await connect(database)
        try:
            await connection.execute(SCHEMA)
        finally:
            await connection.close()
    return {model.name: own.get(model.name, READ) for model in READ_MODELS if model.store is StoreKind.POSTGRES}
