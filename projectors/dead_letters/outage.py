"""Which errors of the operations database the dead-letter worker retries."""

import asyncio

import asyncpg

from shared.runtime import postgres
from shared.runtime.outage import OutageRetry


def is_outage(error: BaseException) -> bool:
    """Whether the same statement may succeed later: the database is unavailable, or another worker wrote the same row first.

    What the driver itself refuses to send (a ValueError) is not an outage.
    """
    if isinstance(error, asyncpg.UniqueViolationError):
        return True
    return postgres.is_outage(error) and not isinstance(error, ValueError)


def retry(stopping: asyncio.Event) -> OutageRetry:
    """The retry of steps against the operations database."""
    return OutageRetry("the operations database", is_outage, stopping=stopping)
