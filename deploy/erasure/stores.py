"""All places where a person's data may be: every PostgreSQL database and Redis by name, and the schemas of every generation."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
from pydantic_core import from_json

from deploy.compare.stores import open_store
from deploy.verify.errors import server_errors
from projectors.stores.tables import Table
from shared.privacy.key_database import KeyDatabase
from shared.read_models import IN_POSTGRES, READ_MODELS, StoreKind
from shared.runtime.postgres import CONNECT_TIMEOUT_S
from shared.runtime.settings import Settings
from shared.views.generations import generation_name

WRITE: Final = "write"
KEYS: Final = "keys"
OPERATIONS: Final = "operations"
PROCESSES: Final = "processes"


def databases(settings: Settings) -> Mapping[str, str]:
    """Name → URL. Read models that share a database are one. Raises MissingSettingError."""
    found = {
        WRITE: settings.require("write_db_url"),
        KEYS: settings.require("keys_db_url"),
        OPERATIONS: settings.require("operations_db_url"),
        PROCESSES: settings.processes_url(),
    }
    for model in IN_POSTGRES:
        url = settings.store_url(model.name)
        if url not in found.values():
            found[model.name] = url
    return found


def redis_stores(settings: Settings) -> Mapping[str, str]:
    return {model.name: settings.store_url(model.name) for model in READ_MODELS if model.store is StoreKind.REDIS}


@asynccontextmanager
async def connection(name: str, url: str, *, schema: str = "public") -> AsyncIterator[asyncpg.Connection]:
    """Raises ServerUnavailableError."""
    with server_errors(f"{name} database"):
        found = await asyncpg.connect(
            url, timeout=CONNECT_TIMEOUT_S, server_settings={"search_path": f"{schema}, public"}
        )
        try:
            yield found
        finally:
            found.terminate()


@asynccontextmanager
async def key_database(settings: Settings) -> AsyncIterator[KeyDatabase]:
    """Raises MissingSettingError."""
    keys = KeyDatabase(settings.require("keys_db_url"))
    try:
        yield keys
    finally:
        await keys.close()


async def rows_of(store: asyncpg.Connection, table: Table[Any], value: str) -> list[Any]:
    """The rows of a read model's table that belong to one stream, as plain JSON. ``value``: of the table's column ``stream``."""
    key = await store.fetchval("SELECT quote_ident($1)", table.stream)
    name = await store.fetchval("SELECT quote_ident($1)", table.name)
    statement = f"SELECT to_jsonb(t)::text AS row FROM {name} AS t WHERE {key} = $1"  # noqa: S608 - quoted
    return [from_json(row["row"]) for row in await store.fetch(statement, value)]


async def generations(settings: Settings, name: str) -> Mapping[str, bool]:
    """The schema of every generation of a read model in PostgreSQL, and whether it is the active one."""
    async with open_store(settings, name) as store:
        return {generation_name(name, one.number): one.active for one in await store.generations()}
