"""Operators' ways in, over a real dead-letter worker: HTTP with a key, and the command line."""

import os
from collections.abc import AsyncIterator

import aio_pika
import asyncpg
import httpx
import pytest

from deploy.servers.provide import Servers
from projectors.dead_letters.inbox import QUEUES
from query_service.app import create_app
from query_service.http.operators import Operators
from query_service.http.requests import Stores
from query_service.stores.operations_store import OperationsStore
from query_service.stores.postgres_store import PostgresStore
from query_service.stores.redis_store import RedisStore
from shared.messaging import topology
from shared.runtime.settings import Settings
from shared.views.operations import SCHEMA
from tests.integration.dead_letters.harness import Harness

KEY = "a key for tests"
TABLES = "letters, payloads, letter_failures, requests, jobs, job_items, discards, resent_commands, marks, audit"
OTHERS = (topology.RESEND_QUEUE, topology.COMMAND_QUEUE, *map(topology.control_queue, topology.PROJECTORS))


@pytest.fixture
async def db(migrated: Settings) -> AsyncIterator[asyncpg.Connection]:
    """The operations database, empty, as its owner sees it."""
    session = {"search_path": f"{SCHEMA}, public"}
    connection = await asyncpg.connect(migrated.operations_db_url, server_settings=session)
    async with connection.transaction():
        await connection.execute("ALTER TABLE audit DISABLE TRIGGER USER")
        await connection.execute(f"TRUNCATE {TABLES} RESTART IDENTITY")
        await connection.execute("ALTER TABLE audit ENABLE TRIGGER USER")
    yield connection
    await connection.close()


@pytest.fixture
async def idle(db: asyncpg.Connection, migrated: Settings) -> AsyncIterator[Harness]:
    """Empty queues, and a worker that is not started."""
    connection = await aio_pika.connect(migrated.rabbitmq_url)
    channel = await connection.channel()
    for name in (*QUEUES, *OTHERS):
        queue = await channel.get_queue(name, ensure=False)
        await queue.purge()
    await connection.close()
    made = Harness(migrated, db)
    yield made
    await made.close()


@pytest.fixture
async def harness(idle: Harness) -> Harness:
    """A worker at work, with a projection and a command service that answer."""
    await idle.play()
    await idle.start()
    return idle


@pytest.fixture
def stores(servers: Servers, migrated: Settings) -> Stores:
    return Stores(
        PostgresStore("summary", servers.reader_stores["summary"], "summary"),
        PostgresStore("search", servers.reader_stores["search"], "search"),
        RedisStore("analytics", servers.reader_stores["analytics"]),
        operations=OperationsStore(servers.operations_reader_url),
    )


@pytest.fixture
async def anybody(stores: Stores, migrated: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Who asks without a key."""
    app = create_app(stores, Operators(KEY, migrated.rabbitmq_url))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://query") as client:  # type: ignore[arg-type]
        yield client
    await stores.close()


@pytest.fixture
async def ann(anybody: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """An operator, by the same service."""
    headers = {"Authorization": f"Bearer {KEY}", "Tidemark-Actor": "ann"}
    async with httpx.AsyncClient(
        transport=anybody._transport, base_url="http://query", headers=headers, timeout=30
    ) as client:
        yield client


@pytest.fixture
def environ(migrated: Settings) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("TIDEMARK_")}
