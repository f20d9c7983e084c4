"""Reads the operations database, which the dead-letter worker writes.

It is not a read store of a projection: readiness and freshness do not check it. While it is unavailable or not configured, only its own
routes return an error.
"""

import asyncio
from typing import Any, Final

import asyncpg

from query_service.http.problems import StoreDownError
from query_service.stores.postgres_store import PostgresStore
from shared.views.operations import SCHEMA
from shared.views.operations_queries import HOLDING

NAME: Final = "operations"
LETTER_ID_TIMEOUT_S: Final = 1.0
"""Maximum wait of a response about something else for the id of a dead letter."""

# The best index depends on the parameters.
_PLANS: Final = {"plan_cache_mode": "force_custom_plan"}


class OperationsStore(PostgresStore):
    """Raises StoreDownError like any store, and also if no URL is configured."""

    def __init__(self, url: str) -> None:
        self._named = bool(url)
        super().__init__(NAME, url, SCHEMA, session=_PLANS)

    async def fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        if not self._named:
            raise StoreDownError(NAME, "TIDEMARK_OPERATIONS_DB_URL is not set")
        return await super().fetch(statement, *arguments)

    async def holding(self, origin: str, stream: str, version: int) -> int | None:
        """The id of the live letter that holds a stream at this version; None if there is none, or the database is unavailable."""
        try:
            async with asyncio.timeout(LETTER_ID_TIMEOUT_S):
                row: Any = await self.fetchrow(HOLDING, origin, stream)
        except TimeoutError as error:
            self._pause.failed("it did not answer in time", error)
            return None
        except StoreDownError:
            return None
        return row["id"] if row is not None and row["version"] == version else None
