"""The deploy step that owns all that the services take for granted: database schemas, exchanges, queues and bindings."""

from pathlib import Path
from typing import Final

import aio_pika

import command_service
from projectors.dead_letters.migrations import migrate as migrate_operations
from projectors.migrations import migrate as migrate_projection
from shared import topology
from shared.broker import CONNECT_DEADLINE_S, deadline
from shared.postgres import migrate as migrate_database
from shared.settings import Settings

WRITE_MIGRATIONS: Final = Path(command_service.__file__).parent / "migrations"
DECLARE_DEADLINE_S: Final = 60.0


async def migrate(settings: Settings) -> list[str]:
    """Bring every store and the broker up to date; safe to run again. Returns what was done, a line each.

    Raises what the servers raise when they are away, BrokerError when a queue exists with other arguments.
    """
    done = [
        f"write: {name}"
        for name in await migrate_database(settings.require("write_db_url"), sorted(WRITE_MIGRATIONS.glob("*.sql")))
    ]
    for projector, setting in (("summary", "summary_db_url"), ("search", "search_db_url")):
        names = await migrate_projection(projector, settings.require(setting))
        done += [f"{projector}: {name}" for name in names]
    names = await migrate_operations(settings.require("operations_db_url"))
    done += [f"operations: {name}" for name in names]
    count = await declare(settings.require("rabbitmq_url"), settings.lanes)
    done.append(f"rabbitmq: {count} exchanges and queues in place")
    return done


async def declare(url: str, lanes: int) -> int:
    """Declare the whole topology; returns how many exchanges and queues there are."""
    wanted = topology.declarations(lanes)
    async with deadline(CONNECT_DEADLINE_S):
        connection = await aio_pika.connect(url, timeout=CONNECT_DEADLINE_S)
    try:
        async with deadline(DECLARE_DEADLINE_S):
            channel = await connection.channel()
            for name in wanted.exchanges:
                await channel.declare_exchange(name, aio_pika.ExchangeType.TOPIC, durable=True)
            for queue in wanted.queues:
                declared = await channel.declare_queue(queue.name, durable=True, arguments=queue.arguments)
                for exchange, key in queue.bindings:
                    await declared.bind(exchange, key)
    finally:
        async with deadline(CONNECT_DEADLINE_S):
            await connection.close()
    return len(wanted.exchanges) + len(wanted.queues)
