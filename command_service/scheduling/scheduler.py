"""The scheduler, a task of the relay: puts each scheduled command into the queue of commands once it is due.

- By the write database's clock: neither this process's clock nor the worker's matters.
- In the order of due times; commands due at the same time, in the order in which they were scheduled. One scheduler acts at a time.
- At least once: a command without an outcome RESEND_AFTER after it was sent is sent again. Sent twice, it is decided once.
"""

import asyncio
import logging
from contextlib import suppress
from datetime import timedelta
from typing import Final

from command_service.scheduling.scheduled_commands import ScheduledCommand
from shared.messaging.broker import BrokerError, Publisher
from shared.runtime.outage import OutageRetry
from shared.runtime.postgres import Connection, Database, is_outage
from shared.runtime.process import Stopped

log: Final = logging.getLogger(__name__)

BATCH: Final = 500
LONGEST_PAUSE_S: Final = 1.0
"""The most by which a command is late that is scheduled less than this ahead."""
RESEND_AFTER: Final = timedelta(minutes=5)

LEAD: Final = "SELECT pg_try_advisory_xact_lock(hashtext('tidemark scheduler'))"
# The clock is read once, in a sub-select, so that it can be a condition of the index.
# A command that failed inside the service is a dead letter: its outcome follows when an operator replays it.
DUE: Final = """
SELECT id, command_id, source, command_type, envelope, due_at, reply_to, correlation_id, scheduled_at, sender
FROM scheduled_commands AS due
WHERE due_at <= (SELECT clock_timestamp()) AND (sent_at IS NULL OR sent_at < clock_timestamp() - $1::interval)
    AND NOT EXISTS (SELECT FROM undecided_commands u WHERE u.command_id = due.command_id AND u.source = due.source)
ORDER BY due_at, id LIMIT $2
"""
SENT: Final = "UPDATE scheduled_commands SET sent_at = clock_timestamp() WHERE id = ANY ($1::bigint[])"
# What is due by now and not sent waits for another scheduler, or for an operator: no reason to look again at once.
NEXT_IN_S: Final = """
SELECT extract(epoch FROM min(due_at) - clock_timestamp())::float8
FROM scheduled_commands WHERE due_at > (SELECT clock_timestamp())
"""


class Scheduler:
    def __init__(self, write_db_url: str, publisher: Publisher, *, stopping: asyncio.Event) -> None:
        self._database = Database(write_db_url, max_size=1)
        self._publisher = publisher
        self._outages = OutageRetry(
            "the scheduler", lambda error: isinstance(error, BrokerError) or is_outage(error), stopping=stopping
        )

    @property
    def trouble(self) -> str | None:
        """Why commands that are due are not put into the queue."""
        return self._outages.trouble

    async def run(self, stopping: asyncio.Event) -> None:
        """Until stopped; retries during outages of the database and the broker."""
        with suppress(Stopped):
            while not stopping.is_set():
                await self._outages.pause(await self._outages.until_up(self._round, what="sending what is due"))

    async def close(self) -> None:
        await self._database.close()

    async def _round(self) -> float:
        """Send what is due; return how long to pause, in seconds."""
        pool = await self._database.pool()
        async with pool.acquire(timeout=10) as connection:
            if await self._send_due(connection) == BATCH:
                return 0.0
            next_in_s: float | None = await connection.fetchval(NEXT_IN_S)
        return LONGEST_PAUSE_S if next_in_s is None else min(max(next_in_s, 0.0), LONGEST_PAUSE_S)

    async def _send_due(self, connection: Connection) -> int:
        """The number of commands that were sent."""
        async with connection.transaction():
            if not await connection.fetchval(LEAD):
                return 0
            found = [ScheduledCommand(*row) for row in await connection.fetch(DUE, RESEND_AFTER, BATCH)]
            if found:
                sent = await asyncio.gather(
                    *(self._publisher.publish(one.due()) for one in found), return_exceptions=True
                )
                for error in sent:
                    if error is not None:
                        raise error
                await connection.execute(SENT, [one.id for one in found])
                log.info("sent %d scheduled commands that are due", len(found))
        return len(found)
