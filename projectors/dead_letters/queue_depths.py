"""Keeps how many messages wait in each queue, where the query service reads it: who answers requests needs no right on a queue.

QueueFigures ──latest──▶ the table ``queue_depths``, one row for each queue, with when it was counted
"""

from collections.abc import Callable
from typing import Final

from shared.runtime.postgres import Database
from shared.status.queues import QueueStates

KEEP: Final = """
WITH gone AS (
    DELETE FROM queue_depths WHERE queue <> ALL ($1::text[])
)
INSERT INTO queue_depths (queue, messages, consumers, counted_at)
SELECT queue, messages, consumers, current_timestamp
FROM unnest($1::text[], $2::bigint[], $3::integer[]) AS counted (queue, messages, consumers)
ON CONFLICT (queue) DO UPDATE SET
    messages = excluded.messages, consumers = excluded.consumers, counted_at = excluded.counted_at
"""


class QueueDepths:
    def __init__(self, database: Database, latest: Callable[[], QueueStates | None]) -> None:
        self._database = database
        self._latest = latest

    async def keep(self) -> None:
        """Write what was counted last; nothing, if that failed: then the rows say how old they are. Raises outages of the database."""
        found = self._latest()
        if found is None:
            return
        columns = (
            list(found.depths),
            [each.messages for each in found.depths.values()],
            [each.consumers for each in found.depths.values()],
        )
        pool = await self._database.pool()
        async with pool.acquire(timeout=5) as connection:
            await connection.execute(KEEP, *columns)
