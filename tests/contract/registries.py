"""The registries of generations, each on a projection of its own: nobody else's generations are touched."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence

import asyncpg
from redis.asyncio import Redis

from projectors.generations.registry import GenerationRegistry
from projectors.models.analytics.generation_registry import AnalyticsRegistry
from projectors.models.analytics.store import AnalyticsStore
from projectors.models.summary.store import SummaryStore
from projectors.stores import migrations
from projectors.stores.port import Store
from projectors.stores.postgres_registry import PostgresRegistry
from shared.runtime.postgres import migrate
from shared.views.generations import generation_name, registry_key, registry_schema

PREFIX = "registered"
SCHEMAS = "SELECT quote_ident(nspname) FROM pg_namespace WHERE nspname LIKE $1"


class RegistryUnderTest(ABC):
    def __init__(self, url: str) -> None:
        self.url = url

    @abstractmethod
    def connect(self) -> GenerationRegistry: ...

    @abstractmethod
    def store(self, number: int) -> Store:
        """The data of a generation."""

    @abstractmethod
    async def forget_everything(self) -> None:
        """Nothing but an empty first generation."""

    @abstractmethod
    async def forget_row(self, number: int) -> None:
        """The registry knows nothing of that generation; its data stay."""

    @abstractmethod
    async def places(self) -> Sequence[int]:
        """The generations that have left anything in the store."""


class PostgresUnderTest(RegistryUnderTest):
    def connect(self) -> GenerationRegistry:
        return PostgresRegistry("summary", self.url, first=PREFIX)

    def store(self, number: int) -> Store:
        return SummaryStore(self.url, generation_name(PREFIX, number))

    async def forget_everything(self) -> None:
        async with self._connection() as connection:
            for (schema,) in await connection.fetch(SCHEMAS, f"{PREFIX}%"):
                await connection.execute(f"DROP SCHEMA {schema} CASCADE")
        await migrations.migrate("summary", self.url, schema=PREFIX)
        await migrate(self.url, migrations.registry_files(), schema=registry_schema(PREFIX))

    async def forget_row(self, number: int) -> None:
        async with self._connection() as connection:
            await connection.execute("SELECT set_config('search_path', $1, false)", registry_schema(PREFIX))
            await connection.execute("DELETE FROM generations WHERE number = $1", number)

    async def places(self) -> Sequence[int]:
        async with self._connection() as connection:
            names = {row[0] for row in await connection.fetch(SCHEMAS, f"{PREFIX}%")}
        return [number for number in range(1, 10) if generation_name(PREFIX, number) in names]

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(self.url, timeout=5)
        try:
            yield connection
        finally:
            await connection.close(timeout=5)


class RedisUnderTest(RegistryUnderTest):
    def connect(self) -> GenerationRegistry:
        return AnalyticsRegistry(self.url, PREFIX)

    def store(self, number: int) -> Store:
        entry = (registry_key(PREFIX), str(number)) if number > 1 else None
        return AnalyticsStore(self.url, generation_name(PREFIX, number), entry=entry)

    async def forget_everything(self) -> None:
        async with self._redis() as redis:
            async for key in redis.scan_iter(f"{PREFIX}*", count=1000):
                await redis.unlink(key)

    async def forget_row(self, number: int) -> None:
        async with self._redis() as redis:
            await redis.hdel(registry_key(PREFIX), str(number))

    async def places(self) -> Sequence[int]:
        async with self._redis() as redis:
            keys = [key async for key in redis.scan_iter(f"{PREFIX}*:*", count=1000)]
        names = {key.partition(":")[0] for key in keys}
        return [number for number in range(1, 10) if generation_name(PREFIX, number) in names]

    @contextlib.asynccontextmanager
    async def _redis(self) -> AsyncIterator[Redis]:
        redis: Redis = Redis.from_url(self.url, decode_responses=True, socket_timeout=5)
        try:
            yield redis
        finally:
            await redis.aclose()
