"""A witness of an outage: looks again and again into whatever answers, and remembers what should never have been there.

An outage is not poison: whoever is away, no projection counts an attempt against an event, nothing goes to a delay tier or becomes a
dead letter. What the audit finds afterwards would not show an attempt that was counted and made good.
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

LOOK_EVERY_S: Final = 0.5
ANSWER_WITHIN_S: Final = 3.0

ATTEMPTS: Final = "SELECT stream, version, attempts, reason, exception FROM held WHERE attempts > 0 LIMIT 5"
LETTERS: Final = "SELECT origin, stream, version, reason, exception FROM letters LIMIT 5"


class Witness:
    def __init__(self, cluster: Cluster) -> None:
        self._servers = cluster.servers
        self.seen: dict[str, Any] = {}
        """What was found, by where; the first of its kind."""
        self.looks = 0
        """How often something answered."""

    async def look(self) -> None:
        servers = self._servers
        looks: dict[str, Callable[[], Awaitable[Any]]] = {
            "summary": lambda: _rows(servers.stores["summary"], "summary", ATTEMPTS),
            "search": lambda: _rows(servers.stores["search"], "search", ATTEMPTS),
            "letters": lambda: _rows(servers.operations_db_url, operations.SCHEMA, LETTERS),
            "analytics": self._held_in_analytics,
            "queues": self._queues_of_failures,
        }
        await asyncio.gather(*(self._ask(name, look) for name, look in looks.items()))

    async def _ask(self, name: str, look: Callable[[], Awaitable[Any]]) -> None:
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                found = await look()
        except Exception:  # whatever is away has nothing to tell
            return
        self.looks += 1
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
async def witnessing(cluster: Cluster) -> AsyncIterator[Witness]:
    witness = Witness(cluster)

    async def watch() -> None:
        while True:
            await witness.look()
            await asyncio.sleep(LOOK_EVERY_S)

    watching = asyncio.create_task(watch())
    try:
        yield witness
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    await witness.look()


async def _rows(url: str, schema: str, query: str) -> list[dict[str, Any]]:
    connection = await asyncpg.connect(url, timeout=ANSWER_WITHIN_S, server_settings={"search_path": schema})
    try:
        return [dict(row) for row in await connection.fetch(query)]
    finally:
        connection.terminate()
