"""The two pipelines under measurement, seen alike: processes to start, stores to empty, and how far each store has
come.
"""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol
from urllib.parse import urlsplit, urlunsplit

import aio_pika
import asyncpg
from redis.asyncio import Redis

from deploy.demo.system import settings_for
from deploy.run import deployables
from deploy.run.child import Program
from deploy.run.migrate import WRITE_MIGRATIONS, migrate
from deploy.servers.provide import Servers
from projectors.stores.migrations import files
from shared.messaging import topology
from shared.runtime.postgres import migrate as migrate_database
from shared.runtime.settings import Settings
from shared.views.analytics import Keys
from tests.benchmarks import yardstick
from tests.shop import WITH_ORDERS

APPLIED: Final = "SELECT coalesce(sum(events_applied), 0)::bigint FROM progress"
TABLES: Final = """
SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables
WHERE schemaname IN ('public', 'summary', 'search') AND tablename NOT IN ('migrations', 'senders')
"""
DATABASE_EXISTS: Final = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)"


class Pipeline(Protocol):
    """``urls`` are those of the four stores: write, summary, search, analytics."""

    @property
    def name(self) -> str: ...

    @property
    def exchange(self) -> str: ...

    @property
    def progress_key(self) -> str: ...

    urls: Mapping[str, str]

    async def prepare(self) -> None:
        """Databases, tables, exchanges and queues."""

    def programs(self) -> Sequence[Program]: ...


class Tidemark:
    """What ``tidemark demo`` starts, without the query service: nobody asks."""

    name = "tidemark"
    exchange: str = topology.COMMANDS
    progress_key: str = Keys().progress

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self.urls: Mapping[str, str] = {
            "write": servers.write_db_url,
            "summary": servers.stores["summary"],
            "search": servers.stores["search"],
            "analytics": servers.stores["analytics"],
        }

    async def prepare(self) -> None:
        await migrate(settings_for(self._servers))

    def programs(self) -> Sequence[Program]:
        environment = dict(os.environ) | {"TIDEMARK_LOG_LEVEL": "WARNING"}
        return [deployables.program(role, self._servers, environment) for role in yardstick.ROLES]


class Yardstick:
    """``tests.benchmarks.yardstick`` on databases of its own with Tidemark's tables."""

    name = "yardstick"
    exchange: str = yardstick.COMMANDS
    progress_key = "yardstick:progress"

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self.urls: Mapping[str, str] = {
            "write": _named(servers.write_db_url, "yardstick_write"),
            "summary": _named(servers.stores["summary"], "yardstick_summary"),
            "search": _named(servers.stores["search"], "yardstick_search"),
            "analytics": servers.stores["analytics"],
        }

    async def prepare(self) -> None:
        await yardstick.declare(self._servers.rabbitmq_url)
        for store in ("write", "summary", "search"):
            await _create_database(self._servers.write_db_url, f"yardstick_{store}")
        await migrate_database(self.urls["write"], sorted(WRITE_MIGRATIONS.glob("*.sql")))
        for store in ("summary", "search"):
            await migrate_database(self.urls[store], files(store), schema=store)

    def programs(self) -> Sequence[Program]:
        environment = dict(os.environ) | {
            "TIDEMARK_RABBITMQ_URL": self._servers.rabbitmq_url,
            "TIDEMARK_WRITE_DB_URL": self.urls["write"],
            "TIDEMARK_SUMMARY_DB_URL": self.urls["summary"],
            "TIDEMARK_SEARCH_DB_URL": self.urls["search"],
            "TIDEMARK_ANALYTICS_REDIS_URL": self.urls["analytics"],
        }
        command = (sys.executable, "-m", "tests.benchmarks.yardstick")
        return [Program(role, (*command, role), environment) for role in yardstick.ROLES]


class Probe:
    """Looks at a pipeline's stores from outside, over connections of its own. One task at a time may use a store."""

    stores: Sequence[str] = WITH_ORDERS
    """Those that events are awaited in."""

    def __init__(self, pipeline: Pipeline, databases: Mapping[str, asyncpg.Connection], redis: Redis) -> None:
        self.pipeline = pipeline
        self.databases = databases
        self.redis = redis

    @classmethod
    async def open(cls, pipeline: Pipeline) -> "Probe":
        databases = {}
        for store in ("write", "summary", "search"):
            path = "public" if store == "write" else f"{store}, public"
            databases[store] = await asyncpg.connect(pipeline.urls[store], server_settings={"search_path": path})
        return cls(pipeline, databases, Redis.from_url(pipeline.urls["analytics"], decode_responses=True))

    async def close(self) -> None:
        for database in self.databases.values():
            await database.close()
        await self.redis.aclose()

    async def empty(self) -> None:
        """No rows, and nothing left of the run before for a vacuum to find in the middle of the next."""
        for database in self.databases.values():
            tables = [row[0] for row in await database.fetch(TABLES)]
            await database.execute(f"TRUNCATE {', '.join(tables)}")
        await self.redis.flushdb()

    async def applied(self, store: str) -> int:
        """How many events the store has applied."""
        if store == "analytics":
            progress: dict[Any, Any] = await self.redis.hgetall(self.pipeline.progress_key)
            return sum(int(value) for name, value in progress.items() if name.endswith(":events_applied"))
        return int(await self.databases[store].fetchval(APPLIED))

    async def wait_for(self, events: int, patience_s: float = 60.0) -> dict[str, float]:
        """When each store was seen to have applied this many (``time.monotonic``). Raises TimeoutError."""
        loop = asyncio.get_running_loop()

        async def wait(store: str) -> float:
            while await self.applied(store) < events:  # noqa: ASYNC110 - another process does it
                await asyncio.sleep(0.005)
            return loop.time()

        async with asyncio.timeout(patience_s):
            times = await asyncio.gather(*(wait(store) for store in self.stores))
        return dict(zip(self.stores, times, strict=True))


async def purge(url: str, *others: str) -> None:
    """Empty every queue of Tidemark, and ``others``: a run that failed leaves nothing to the next."""
    connection = await aio_pika.connect(url, timeout=10)
    channel = await connection.channel()
    names = [queue.name for queue in topology.declarations(Settings().lanes).queues]
    for name in (*names, *others):
        await (await channel.get_queue(name, ensure=False)).purge()
    await connection.close()


async def _create_database(admin_url: str, name: str) -> None:
    connection = await asyncpg.connect(admin_url)
    if not await connection.fetchval(DATABASE_EXISTS, name):
        quoted = await connection.fetchval("SELECT quote_ident($1)", name)
        await connection.execute(f"CREATE DATABASE {quoted}")
    await connection.close()


def _named(url: str, database: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))
