"""The three read stores, each behind a ``ReadStore`` that can look into it."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
from redis.asyncio import Redis

from projectors.models.analytics.store import AnalyticsStore
from projectors.models.search.store import SearchStore
from projectors.models.summary.store import SummaryStore
from projectors.stores.migrations import migrate
from projectors.stores.port import ProjectionError, Store
from projectors.stores.tables import tables_of
from shared.views.analytics import Keys

GENERATION = "contract"
"""The stores under test are a generation of their own: nobody else's data is touched."""

REFUSED_DATA = (asyncpg.DataError, OverflowError, ProjectionError)
"""How the stores refuse one event's data; to the runtime it is "anything else"."""

TRUNCATE = {
    name: f"TRUNCATE positions, held, progress, {', '.join(table.name for table in tables_of(name))}"
    for name in ("summary", "search")
}
ORDERS = (
    "SELECT count(*) FILTER (WHERE status <> 'cancelled'), count(*) FILTER (WHERE status = 'cancelled') FROM orders"
)
PROGRESS = "SELECT lane, as_of, events_applied FROM progress ORDER BY lane"


class ReadStore(ABC):
    """A store of one kind, and what a test must know of its inside."""

    def __init__(self, url: str) -> None:
        self.url = url

    @abstractmethod
    def connect(self, url: str | None = None) -> Store:
        """A store on the same data, not open yet; ``url`` is another way to its server."""

    @abstractmethod
    async def orders(self) -> tuple[int, int]:
        """How many orders the data shows: not cancelled, cancelled."""

    @abstractmethod
    async def progress(self) -> dict[int, tuple[str | None, int]]:
        """lane → (as_of, events applied)."""

    @abstractmethod
    async def clear(self) -> None: ...


class PostgresReadStore(ReadStore):
    def __init__(self, kind: str, cls: type[SummaryStore] | type[SearchStore], url: str) -> None:
        self._kind = kind
        self._cls = cls
        super().__init__(url)
        self._schema = f"{kind}_{GENERATION}"

    def connect(self, url: str | None = None) -> Store:
        return self._cls(url or self.url, self._schema)

    async def orders(self) -> tuple[int, int]:
        async with self._connection() as connection:
            ((placed, cancelled),) = await connection.fetch(ORDERS)
        return placed, cancelled

    async def progress(self) -> dict[int, tuple[str | None, int]]:
        async with self._connection() as connection:
            rows = await connection.fetch(PROGRESS)
        return {lane: (as_of and as_of.isoformat(timespec="microseconds"), events) for lane, as_of, events in rows}

    async def clear(self) -> None:
        await migrate(self._kind, self.url, schema=self._schema)
        async with self._connection() as connection:
            await connection.execute(TRUNCATE[self._kind])

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(self.url, timeout=5, server_settings={"search_path": self._schema})
        try:
            yield connection
        finally:
            await connection.close(timeout=5)


class RedisReadStore(ReadStore):
    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._prefix = f"analytics_{GENERATION}"
        self._keys = Keys(self._prefix)

    def connect(self, url: str | None = None) -> Store:
        return AnalyticsStore(url or self.url, self._prefix)

    async def orders(self) -> tuple[int, int]:
        days = await self._hash(self._keys.days_in("EUR"))

        def total(metric: str) -> int:
            return sum(int(value) for field, value in days.items() if field.endswith(metric))

        return total("orders"), total("cancelled")

    async def progress(self) -> dict[int, tuple[str | None, int]]:
        fields = await self._hash(self._keys.progress)
        lanes = {int(name.partition(":")[0]) for name in fields}
        return {lane: (fields.get(f"{lane}:as_of"), int(fields[f"{lane}:events_applied"])) for lane in sorted(lanes)}

    async def clear(self) -> None:
        async with self._redis() as redis:
            async for key in redis.scan_iter(f"{self._prefix}:*", count=1000):
                await redis.unlink(key)

    async def _hash(self, key: str) -> dict[str, str]:
        async with self._redis() as redis:
            found: Any = await redis.hgetall(key)
        return dict(found)

    @contextlib.asynccontextmanager
    async def _redis(self) -> AsyncIterator[Redis]:
        redis: Redis = Redis.from_url(self.url, decode_responses=True, socket_timeout=5)
        try:
            yield redis
        finally:
            await redis.aclose()
