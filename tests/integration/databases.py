"""Databases of a test's own, gone when it is over."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from deploy.run.migrate import WRITE_MIGRATIONS
from projectors.stores.postgres_registry import PostgresRegistry
from shared.read_models import named
from shared.runtime.postgres import migrate
from shared.runtime.settings import Settings
from shared.views.generations import FIRST


@asynccontextmanager
async def write_database(settings: Settings) -> AsyncIterator[str]:
    """A write database without epochs; its URL."""
    async with database(settings.write_db_url) as url:
        await migrate(url, sorted(WRITE_MIGRATIONS.glob("*.sql")))
        yield url


async def note_kinds(name: str, url: str) -> None:
    """What a projector notes when it first starts; else the read model lacks all kinds that it has not read from the beginning."""
    registry = PostgresRegistry(name, url)
    await registry.note_kinds(FIRST, None, named(name).kinds)
    await registry.close()


@asynccontextmanager
async def database(server: str, statement: str = "CREATE DATABASE {name}") -> AsyncIterator[str]:
    """Made by ``statement`` on this server; its URL."""
    name = f"epochs_{uuid4().hex}"
    admin = await asyncpg.connect(server)
    await admin.execute(statement.format(name=name))
    try:
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
    finally:
        await drop_database(admin, name)
        await admin.close()


# Whoever is no superuser may not end an autovacuum worker by FORCE; it is over in a moment.
@retry(
    retry=retry_if_exception_type(asyncpg.InsufficientPrivilegeError),
    stop=stop_after_delay(30),
    wait=wait_fixed(0.2),
    reraise=True,
)
async def drop_database(admin: asyncpg.Connection, name: str) -> None:
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
