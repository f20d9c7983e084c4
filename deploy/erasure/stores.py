"""All places where a person's data may be: every PostgreSQL database and Redis by name, and the schemas of every generation."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from deploy.compare.stores import open_store
from deploy.verify.errors import server_errors
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


async def generations(settings: Settings, name: str) -> Mapping[str, bool]:
    """The schema of every generation of a read model in PostgreSQL, and whether it is the active one."""
    async with open_store(settings, name) as store:
        return {generation_name(name, one.number): one.active for one in await store.generations()}
