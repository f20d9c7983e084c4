"""Checks repeatedly, during an outage, that no failure is counted, and records any that is.

An outage is not poison: whichever server is unavailable, no projection counts an attempt against an event, and no event goes to a delay
tier or becomes a dead letter. The audit afterwards would not show an attempt that was counted and then succeeded.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
from redis.asyncio import Redis

from shared.views import operations
from shared.views.analytics import Keys
from tests.faults.audit import queue_depths
from tests.faults.cluster import Cluster

POLL_INTERVAL_S: Final = 0.5
QUERY_TIMEOUT_S: Final = 3.0

ATTEMPTS: Final = "SELECT stream, version, attempts, reason, exception FROM held WHERE attempts > 0 LIMIT 5"
LETTERS: Final = "SELECT origin, stream, version, reason, exception FROM letters LIMIT 5"


class OutageMonitor:
    def __init__(self, cluster: Cluster) -> None:
        self._servers = cluster.servers
        self.seen: dict[str, Any] = {}
        """Store → the first violation found in it."""
        self.responses = 0
        """Number of successful queries."""

    async def check_once(self) -> None:
        servers = self._servers
        queries: dict[str, Callable[[], Awaitable[Any]]] = {
            "summary": lambda: _rows(servers.stores["summary"], "summary", ATTEMPTS),
            "search": lambda: _rows(servers.stores["search"], "search", ATTEMPTS),
            "letters": lambda: _rows(servers.operations_db_url, operations.SCHEMA, LETTERS),
            "analytics": self._held_in_analytics,
            "queues": self._queues_of_failures,
        }
        await asyncio.gather(*(self._check(name, query) for name, query in queries.items()))

    async def _check(self, name: str, query: Callable[[], Awaitable[Any]]) -> None:
        try:
            async with asyncio.timeout(QUERY_TIMEOUT_S):
                found = await query()
        except Exception:  # an unavailable server cannot be checked
            return
        self.responses += 1
        if found:
            self.seen.setdefault(name, found)

    async def _held_in_analytics(self) -> Any:
        async with Redis.from_url(self._servers.stores["analytics"], decode_responses=True) as redis:
            held: Any = await redis.hvals(Keys().held)
        return [hold for hold in held if '"attempts":0' not in hold]

    async def _queues_of_failures(self) -> Any:
        depths = await queue_depths(self._servers.rabbitmq_url)
        return {
            name: depth for name, depth in depths.items() if depth and (".retry." in name or name.endswith(".dead"))
        }


@asynccontextmanager
async def monitoring_outage(cluster: Cluster) -> AsyncIterator[OutageMonitor]:
    monitor = OutageMonitor(cluster)

    async def watch() -> None:
        while True:
            await monitor.check_once()
            await asyncio.sleep(POLL_INTERVAL_S)

    watching = asyncio.create_task(watch())
    try:
        yield monitor
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    await monitor.check_once()


async def _rows(url: str, schema: str, query: str) -> list[dict[str, Any]]:
    connection = await asyncpg.connect(url, timeout=QUERY_TIMEOUT_S, server_settings={"search_path": schema})
    try:
        return [dict(row) for row in await connection.fetch(query)]
    finally:
        connection.terminate()
