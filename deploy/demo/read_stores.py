"""The three read stores as the demo looks into them: how far they have come, and their figures.

Analytics, and what search finds, are asked as a dashboard asks: through the query service. What it has no route for
is read from the databases themselves. A store that is away is waited for.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Final, Protocol, TypeVar

import asyncpg
import httpx
import redis.exceptions
from redis.asyncio import Redis
from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_random_exponential

from deploy.servers.provide import Servers
from shared.runtime.postgres import connect_pool, is_outage
from shared.views import analytics

PATIENCE_S: Final = 60.0

BEHIND: Final = """
SELECT wanted.stream
FROM unnest($1::text[], $2::bigint[]) AS wanted (stream, version)
LEFT JOIN positions ON positions.stream = wanted.stream
WHERE coalesce(positions.applied, 0) < wanted.version
"""
DEAD: Final = "SELECT stream, reason, exception FROM held WHERE status = 'dead' AND stream = ANY($1::text[]) LIMIT 3"
STREAMS: Final = "SELECT count(*) FROM positions"

T = TypeVar("T")


class DemoStore(Protocol):
    name: str

    async def behind(self, versions: Mapping[str, int]) -> Sequence[str]:
        """The streams that have not been applied up to their version."""

    async def dead(self, streams: Sequence[str]) -> Sequence[str]:
        """Those of the streams that wait behind a dead letter: up to three, with the reason."""

    async def stream_count(self) -> int:
        """How many streams there are in the store, whoever sent their commands."""


class PostgresReadStore:
    def __init__(self, name: str, pool: asyncpg.Pool) -> None:
        self.name = name
        self._pool = pool

    async def fetch(self, query: str, *arguments: Any) -> list[Any]:
        return await until_up(lambda: self._pool.fetch(query, *arguments))

    async def behind(self, versions: Mapping[str, int]) -> Sequence[str]:
        return [row[0] for row in await self.fetch(BEHIND, list(versions), list(versions.values()))]

    async def dead(self, streams: Sequence[str]) -> Sequence[str]:
        return [" ".join(row) for row in await self.fetch(DEAD, list(streams))]

    async def stream_count(self) -> int:
        [[count]] = await self.fetch(STREAMS)
        return int(count)


class RedisReadStore:
    name = "analytics"

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._keys = analytics.Keys()

    async def behind(self, versions: Mapping[str, int]) -> Sequence[str]:
        applied = await self._ask("HMGET", self._keys.positions, *versions)
        return [
            stream for (stream, version), at in zip(versions.items(), applied, strict=True) if int(at or 0) < version
        ]

    async def dead(self, streams: Sequence[str]) -> Sequence[str]:
        holds = await self._ask("HMGET", self._keys.held, *streams)
        found = [f"{stream} {hold}" for stream, hold in zip(streams, holds, strict=True) if hold and '"dead"' in hold]
        return found[:3]

    async def stream_count(self) -> int:
        return int(await self._ask("HLEN", self._keys.positions))

    async def _ask(self, *command: str) -> Any:
        return await until_up(lambda: self._client.execute_command(*command))  # type: ignore[no-untyped-call]


class QueryService:
    """The query service over HTTP at ``url``."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def get(self, path: str, **parameters: str | int) -> Any:
        """The JSON answer. Raises httpx.HTTPStatusError for any but a good one."""

        async def ask() -> Any:
            response = await self._client.get(path, params=parameters)
            return response.raise_for_status().json()

        return await until_up(ask)


class ReadStores:
    """All of them, for the time of ``open_read_stores``'s block."""

    def __init__(
        self, summary_: PostgresReadStore, analytics_: RedisReadStore, search_: PostgresReadStore, query: QueryService
    ) -> None:
        self.summary = summary_
        self.analytics = analytics_
        self.search = search_
        self.query = query
        self.all: Sequence[DemoStore] = (summary_, analytics_, search_)


@asynccontextmanager
async def open_read_stores(servers: Servers, query_url: str) -> AsyncIterator[ReadStores]:
    async with AsyncExitStack() as stack:
        pools = []
        for name in ("summary", "search"):
            pool = await until_up(partial(connect_pool, servers.stores[name], schema=name, read_only=True))
            stack.callback(pool.terminate)
            pools.append(pool)
        client = Redis.from_url(servers.stores["analytics"], decode_responses=True, socket_timeout=10)
        stack.push_async_callback(client.aclose)
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=query_url, trust_env=False, timeout=30))
        yield ReadStores(
            PostgresReadStore("summary", pools[0]),
            RedisReadStore(client),
            PostgresReadStore("search", pools[1]),
            QueryService(http),
        )


async def until_up(operation: Callable[[], Awaitable[T]]) -> T:
    """The operation's result, tried again while what it needs is away, for up to a minute."""
    async for attempt in AsyncRetrying(
        retry=retry_if_exception(_is_away),
        wait=wait_random_exponential(multiplier=0.05, max=1),
        stop=stop_after_delay(PATIENCE_S),
        reraise=True,
    ):
        with attempt:
            result = await operation()
    return result


def _is_away(error: BaseException) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code == httpx.codes.SERVICE_UNAVAILABLE
    away = (httpx.TransportError, redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)
    return isinstance(error, away) or is_outage(error)
