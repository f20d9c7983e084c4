"""Reads the positions and figures of the three read stores for the demo.

Analytics and search results are read like a dashboard does, through the query service. Data without a route are read from the
databases. Reads are retried while a store is unavailable.
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

RETRY_FOR_S: Final = 60.0

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
        """The streams that are held by a dead letter: up to three, with the reason."""

    async def stream_count(self) -> int:
        """The number of all streams in the store, regardless of the sender of their commands."""


class PostgresReadStore:
    def __init__(self, name: str, pool: asyncpg.Pool) -> None:
        self.name = name
        self._pool = pool

    async def fetch(self, query: str, *arguments: Any) -> list[Any]:
        return await retry_while_unavailable(lambda: self._pool.fetch(query, *arguments))

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
        applied = await self._command("HMGET", self._keys.positions, *versions)
        return [
            stream for (stream, version), at in zip(versions.items(), applied, strict=True) if int(at or 0) < version
        ]

    async def dead(self, streams: Sequence[str]) -> Sequence[str]:
        holds = await self._command("HMGET", self._keys.held, *streams)
        found = [f"{stream} {hold}" for stream, hold in zip(streams, holds, strict=True) if hold and '"dead"' in hold]
        return found[:3]

    async def stream_count(self) -> int:
        return int(await self._command("HLEN", self._keys.positions))

    async def _command(self, *command: str) -> Any:
        return await retry_while_unavailable(lambda: self._client.execute_command(*command))  # type: ignore[no-untyped-call]


class QueryService:
    """The query service over HTTP at ``url``."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def get(self, path: str, **parameters: str | int) -> Any:
        """The JSON response. Raises httpx.HTTPStatusError unless the status is 2xx."""

        async def request() -> Any:
            response = await self._client.get(path, params=parameters)
            return response.raise_for_status().json()

        return await retry_while_unavailable(request)


class ReadStores:
    """All read stores, open inside the block of ``open_read_stores``."""

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
            pool = await retry_while_unavailable(
                partial(connect_pool, servers.stores[name], schema=name, read_only=True)
            )
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


async def retry_while_unavailable(operation: Callable[[], Awaitable[T]]) -> T:
    """The operation's result; retried for up to RETRY_FOR_S while a server is unavailable."""
    async for attempt in AsyncRetrying(
        retry=retry_if_exception(_is_unavailable),
        wait=wait_random_exponential(multiplier=0.05, max=1),
        stop=stop_after_delay(RETRY_FOR_S),
        reraise=True,
    ):
        with attempt:
            result = await operation()
    return result


def _is_unavailable(error: BaseException) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code == httpx.codes.SERVICE_UNAVAILABLE
    outages = (httpx.TransportError, redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)
    return isinstance(error, outages) or is_outage(error)
