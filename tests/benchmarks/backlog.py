"""A backlog of small orders in the summary's queues, as often as it is wanted, and how fast the summary gets through it.

The orders are decided by the real worker, once. After that a backlog is made by handing every event of the event store to the relay
again: the projection cannot tell it from the first time. The other projections are cut off: nobody measures them here.

A summary that is killed leaves messages that it has not acknowledged, and answers to what it asked: the next one would be told of
events before they come, have them sent once more, and fail on each twice. So they go with it.
"""

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import aio_pika
import asyncpg
from aio_pika.abc import AbstractChannel

from deploy.demo.system import settings_for
from deploy.run import deployables
from deploy.run.migrate import migrate
from deploy.run.supervisor import Supervisor
from deploy.sending.batches import CommandMessage, command_message
from deploy.sending.sender import CommandSender
from deploy.servers.provide import Servers
from shared.messaging import topology
from shared.runtime.settings import Settings
from shared.views import operations

PROJECTION: Final = "summary"
CUSTOMERS: Final = 1000
POLL_S: Final = 0.02

APPLIED: Final = "SELECT coalesce(sum(events_applied), 0)::bigint FROM progress"
LEVEL: Final = "SELECT count(*) FROM progress WHERE as_of > $1"
HAND_ON_AGAIN: Final = """
INSERT INTO outbox (stream, hash, type, envelope)
SELECT stream, hash, envelope ->> 'type', envelope::text
FROM unnest($1::text[], $2::bigint[]) AS wanted (stream, hash) JOIN events USING (stream)
ORDER BY stream, version
"""
STREAMS: Final = "SELECT stream FROM streams ORDER BY stream"
IN_OUTBOX: Final = "SELECT count(*) FROM outbox"
TABLES: Final = (
    "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'summary' AND tablename <> 'migrations'"
)
LETTERS: Final = "SELECT count(*) FROM letters WHERE status = 'dead'"
AT_ONCE: Final = 1000


class Backlog:
    """``count`` orders, each a stream of one event."""

    def __init__(self, servers: Servers, supervisor: Supervisor, count: int) -> None:
        self.servers = servers
        self.supervisor = supervisor
        self.count = count
        self._environment = dict(os.environ) | {"TIDEMARK_LOG_LEVEL": "WARNING"}
        self.databases: dict[str, asyncpg.Connection] = {}

    async def open(self) -> None:
        """Migrate, start what decides and hands on, and send the orders."""
        await migrate(settings_for(self.servers))
        urls = {
            "write": (self.servers.write_db_url, "public"),
            "summary": (self.servers.stores["summary"], "summary"),
            "operations": (self.servers.operations_db_url, operations.SCHEMA),
        }
        for name, (url, schema) in urls.items():
            self.databases[name] = await asyncpg.connect(url, server_settings={"search_path": f"{schema}, public"})
        async with self._broker() as channel:
            for projector, lane in itertools.product(topology.PROJECTORS, range(Settings().lanes)):
                if projector != PROJECTION:
                    queue = await channel.get_queue(topology.lane_queue(projector, lane), ensure=False)
                    await queue.unbind(topology.EVENTS, topology.lane_key(lane))
        await self.start("worker", "relay")
        await CommandSender(self.servers.rabbitmq_url, name="bench").send(_orders(self.count))
        await self._until_handed_on()

    async def close(self) -> None:
        for database in self.databases.values():
            await database.close()

    async def start(self, *names: str, **settings: str) -> None:
        environment = self._environment | {f"TIDEMARK_{name.upper()}": value for name, value in settings.items()}
        await self.supervisor.start([deployables.program(name, self.servers, environment) for name in names])

    async def publish_again(self) -> None:
        """Publish the same backlog again, for an emptied summary."""
        tables = [row[0] for row in await self.databases["summary"].fetch(TABLES)]
        await self.databases["summary"].execute(f"TRUNCATE {', '.join(tables)}")
        streams = [row[0] for row in await self.databases["write"].fetch(STREAMS)]
        for start in range(0, len(streams), AT_ONCE):
            some = streams[start : start + AT_ONCE]
            await self.databases["write"].execute(HAND_ON_AGAIN, some, [topology.hash_of(stream) for stream in some])
        await self._until_handed_on()

    async def applied_per_s(self) -> float:
        """Start the summary on the backlog; returns its rate from its first events to its last. It is stopped afterwards."""
        await self.start(PROJECTION)
        first, began = await self._applied(at_least=1)
        _, ended = await self._applied(at_least=self.count)
        await self._stop_and_purge()
        return (self.count - first) / (ended - began)

    async def until_current(self) -> None:
        """Return when every lane of the summary is current: it has compared its positions with the heads."""
        now = await self.databases["summary"].fetchval("SELECT clock_timestamp()")
        while await self.databases["summary"].fetchval(LEVEL, now) < Settings().lanes:  # noqa: ASYNC110 - another process
            await asyncio.sleep(POLL_S)

    async def fail_all(self) -> float:
        """Run a summary that fails every event until there is a dead letter for each order; returns dead letters per second."""
        await self.start("dead_letters")
        began = time.monotonic()
        await self.start(PROJECTION, poison=f"{PROJECTION}:1/1", summary_retries="0")
        while await self.databases["operations"].fetchval(LETTERS) < self.count:  # noqa: ASYNC110 - another process
            await asyncio.sleep(POLL_S)
        ended = time.monotonic()
        await self._stop_and_purge()
        return self.count / (ended - began)

    async def _stop_and_purge(self) -> None:
        """Kill the summary, purge its queues and its resend requests, and restart the relay, which serves them."""
        await self.supervisor.kill(PROJECTION)
        await self.supervisor.kill("relay")
        async with self._broker() as channel:
            for name in (
                topology.RESEND_QUEUE,
                *(topology.lane_queue(PROJECTION, lane) for lane in range(Settings().lanes)),
            ):
                await (await channel.get_queue(name, ensure=False)).purge()
        await self.start("relay")

    @asynccontextmanager
    async def _broker(self) -> AsyncIterator[AbstractChannel]:
        async with await aio_pika.connect(self.servers.rabbitmq_url, timeout=10) as connection:
            yield await connection.channel()

    async def _applied(self, *, at_least: int) -> tuple[int, float]:
        while (found := await self.databases["summary"].fetchval(APPLIED)) < at_least:  # noqa: ASYNC110 - another process
            await asyncio.sleep(POLL_S)
        return found, time.monotonic()

    async def _until_handed_on(self) -> None:
        while await self.databases["write"].fetchval(IN_OUTBOX):  # noqa: ASYNC110 - another process
            await asyncio.sleep(POLL_S)


def _orders(count: int) -> Iterator[CommandMessage]:
    for number in range(count):
        line = {"product_id": f"p-{number % 100}", "quantity": 1, "amount": 100}
        data: Mapping[str, Any] = {
            "order_id": f"b-{number}",
            "customer_id": f"c-{number % CUSTOMERS}",
            "currency": "EUR",
            "lines": [line],
        }
        yield command_message("orders.place-order", f"place-b-{number}", data, source="bench")
