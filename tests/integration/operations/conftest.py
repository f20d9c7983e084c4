"""Operators' ways in, over a real dead-letter worker: HTTP with a key, and the command line."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import aio_pika
import asyncpg
import httpx
import pytest

from deploy.keys.store import create
from deploy.servers.provide import Servers
from projectors.dead_letters.inbox import QUEUES
from query_service.app import create_app
from query_service.http.operators import Operators
from query_service.http.requests import Stores
from query_service.stores.operations_store import OperationsStore
from query_service.stores.postgres_store import PostgresStore
from query_service.stores.redis_store import RedisStore
from shared.http.identities import scopes
from shared.http.identities.credentials import Credentials
from shared.http.identities.key_cache import ApiKeyCache
from shared.messaging import topology
from shared.runtime.settings import Settings
from shared.views.operations import SCHEMA
from tests.integration.dead_letters.harness import Harness

KEY = "a key for tests"
TABLES = (
    "letters, payloads, letter_failures, requests, jobs, job_items, discards, resent_commands, marks, api_keys, audit,"
    " group_notes, checks, queue_depths, builds"
)
OTHERS = (topology.RESEND_QUEUE, topology.COMMAND_QUEUE, *map(topology.control_queue, topology.PROJECTORS))


@pytest.fixture
async def db(migrated: Settings) -> AsyncIterator[asyncpg.Connection]:
    """The operations database, empty, as its owner sees it."""
    session = {"search_path": f"{SCHEMA}, public"}
    connection = await asyncpg.connect(migrated.operations_db_url, server_settings=session)
    async with connection.transaction():
        await connection.execute("ALTER TABLE audit DISABLE TRIGGER USER")
        await connection.execute(f"TRUNCATE {TABLES} RESTART IDENTITY")
        await connection.execute("UPDATE operators_acts SET forbidden = false")
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
async def nobody(stores: Stores, migrated: Settings, db: asyncpg.Connection) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a credential."""
    keys = ApiKeyCache(migrated.operations_db_url)
    credentials = Credentials(keys, operator_key=KEY)
    app = create_app(stores, Operators(migrated.rabbitmq_url), authenticator=credentials)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://query") as client:  # type: ignore[arg-type]
        yield client
    await stores.close()
    await keys.close()


@asynccontextmanager
async def client_of(
    nobody: httpx.AsyncClient, db: asyncpg.Connection, subject: str, *scopes: str
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the same service with an API key."""
    made = await create(db, subject, scopes, timedelta(hours=1), actor="a test", reason="a test")
    headers = {"Authorization": f"Bearer {made.key}"}
    transport = nobody._transport
    async with httpx.AsyncClient(transport=transport, base_url="http://query", headers=headers, timeout=30) as client:
        yield client


@pytest.fixture
async def reader(nobody: httpx.AsyncClient, db: asyncpg.Connection) -> AsyncIterator[httpx.AsyncClient]:
    """A client that may look, but not at payloads, and not act."""
    async with client_of(nobody, db, "reader", "queries:*", "dead-letters:read", "audit:read") as client:
        yield client


@pytest.fixture
async def ann(nobody: httpx.AsyncClient, db: asyncpg.Connection) -> AsyncIterator[httpx.AsyncClient]:
    """An operator."""
    async with client_of(nobody, db, "ann", *scopes.OPERATOR) as client:
        yield client


@pytest.fixture
def environ(migrated: Settings) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("TIDEMARK_")}
