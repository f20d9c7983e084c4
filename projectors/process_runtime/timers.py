"""Timers: each fires once, when it is due by the database's clock, as an input in the transaction that deletes it.

Those of one transaction fire in the order in which they are due. A timer that was cancelled, set again, or whose process was finished
after it was found to be due, is counted and changes nothing: its token is no longer the one that is set.
"""

import asyncio
from contextlib import suppress
from datetime import datetime
from typing import Final

from projectors.process_runtime.store import ProcessStore
from projectors.processes.process import TimerInput
from shared.runtime.failpoints import Failpoint, reached
from shared.runtime.outage import OutageRetry

BATCH: Final = 500
LONGEST_PAUSE_S: Final = 0.5
"""The most by which a timer is late that another process has set, less than this ahead; and how soon a stop is noticed."""
SHORTEST_PAUSE_S: Final = 0.01

# A volatile function is no index condition: as a sub-select it is one, and the scan ends at the first timer that is not due.
DUE: Final = """
SELECT process, name, token, clock_timestamp() AS now FROM timers
WHERE NOT held AND due_at <= (SELECT clock_timestamp()) ORDER BY due_at LIMIT $1
"""
NEXT_IN_S: Final = """
SELECT extract(epoch FROM due_at - clock_timestamp())::float8 FROM timers WHERE NOT held ORDER BY due_at LIMIT 1
"""
# One process fires the timers of a process manager at a time: two would only find each other's stale.
FIRES: Final = "SELECT pg_try_advisory_xact_lock(hashtextextended('tidemark timers ' || current_schema(), 0))"


class Timers:
    def __init__(self, store: ProcessStore, outages: OutageRetry) -> None:
        self._store = store
        self._outages = outages

    async def run(self, stopping: asyncio.Event) -> None:
        """Until stopped; raises Stopped."""
        while not stopping.is_set():
            self._store.timer_soon.clear()
            seconds = await self._outages.until_up(self.fire, what="firing timers")
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._store.timer_soon.wait()

    async def fire(self) -> float:
        """Fire what is due; returns for how long to pause, in seconds. Raises StoreUnavailableError."""
        async with self._store.transaction() as connection:
            if not await connection.fetchval(FIRES):
                return LONGEST_PAUSE_S
            due = await connection.fetch(DUE, BATCH)
            if due:
                now: datetime = due[0]["now"]
                given = [(row["process"], TimerInput(row["token"], now, row["name"])) for row in due]
                await self._store.handle(connection, given)
                reached(Failpoint.BEFORE_COMMIT)
                return 0.0
            next_in_s: float | None = await connection.fetchval(NEXT_IN_S)
        return LONGEST_PAUSE_S if next_in_s is None else min(max(next_in_s, SHORTEST_PAUSE_S), LONGEST_PAUSE_S)
