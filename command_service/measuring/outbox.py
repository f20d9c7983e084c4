"""Measures the outbox: how much waits in it, and since when."""

from typing import Final

from shared.messaging.broker import RefusedError, UnroutableError
from shared.observability import metrics
from shared.runtime.postgres import Database

FIGURES_EVERY_S: Final = 5.0

PENDING: Final = "SELECT count(*) FROM (SELECT FROM outbox LIMIT 100000) AS first"
OLDEST: Final = """
SELECT coalesce(extract(epoch FROM clock_timestamp() - (envelope::json ->> 'time')::timestamptz), 0)::float8
FROM outbox ORDER BY id LIMIT 1
"""
"""The age of the event with the lowest id, by the database's clock: by no more than a transaction is another one older."""


class OutboxFigures:
    """``read`` sets the gauges of the outbox, over a connection of its own."""

    def __init__(self, write_db_url: str) -> None:
        self._database = Database(write_db_url, read_only=True, max_size=1)

    async def read(self) -> None:
        pool = await self._database.pool()
        async with pool.acquire(timeout=5) as connection:
            metrics.OUTBOX.set(await connection.fetchval(PENDING))
            metrics.OUTBOX_AGE.set(max(0.0, await connection.fetchval(OLDEST) or 0.0))

    async def close(self) -> None:
        await self._database.close()


def failure_label(error: BaseException) -> str:
    if isinstance(error, UnroutableError):
        return "unroutable"
    return "refused" if isinstance(error, RefusedError) else "unavailable"
