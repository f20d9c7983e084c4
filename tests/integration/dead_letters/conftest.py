"""The dead-letter worker on real servers, with a simulated projection and command service that fail as configured."""

from collections.abc import AsyncIterator

import aio_pika
import asyncpg
import pytest

from projectors.dead_letters.inbox import QUEUES
from projectors.dead_letters.migrations import migrate
from shared.messaging import topology
from shared.runtime.settings import Settings
from shared.views.operations import SCHEMA
from tests.integration.dead_letters.harness import Harness

TABLES = (
    "letters, payloads, letter_failures, requests, jobs, job_items, discards, resent_commands, marks, audit,"
    " verifications, queue_depths, builds"
)
EMPTY_CHAIN = """
UPDATE audit_head SET number = 0, hash = decode(repeat('00', 32), 'hex'), pruned = 0, pruned_hash = decode(repeat('00', 32), 'hex')
"""
OTHERS = (topology.RESEND_QUEUE, topology.COMMAND_QUEUE, *map(topology.control_queue, topology.PROJECTORS))


@pytest.fixture(scope="session")
async def operations(migrated: Settings) -> Settings:
    await migrate(migrated.operations_db_url)
    return migrated


@pytest.fixture
async def db(operations: Settings) -> AsyncIterator[asyncpg.Connection]:
    """The operations database, empty, as its owner sees it."""
    connection = await asyncpg.connect(
        operations.operations_db_url, server_settings={"search_path": f"{SCHEMA}, public"}
    )
    try:
        async with connection.transaction():
            await connection.execute("ALTER TABLE audit DISABLE TRIGGER audit_table_stays")
            await connection.execute(f"TRUNCATE {TABLES} RESTART IDENTITY")
            await connection.execute("ALTER TABLE audit ENABLE TRIGGER audit_table_stays")
            await connection.execute(EMPTY_CHAIN)
        yield connection
    finally:
        await connection.close()


@pytest.fixture
async def harness(db: asyncpg.Connection, operations: Settings) -> AsyncIterator[Harness]:
    """A worker with a summary projection and a command service around it, on empty queues; the worker is not started."""
    connection = await aio_pika.connect(operations.rabbitmq_url)
    channel = await connection.channel()
    for name in (*QUEUES, *OTHERS):
        queue = await channel.get_queue(name, ensure=False)
        await queue.purge()
    await connection.close()
    made = Harness(operations, db)
    try:
        yield made
    finally:
        await made.close()
