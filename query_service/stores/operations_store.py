"""The operations database, as the query service reads it: what the dead-letter worker has written, and nothing of what projections write.

It is no read store of a projection: readiness and freshness do not ask it, and while it is away, or was never named, only its own
routes say so.
"""

import asyncio
from typing import Any, Final
from urllib.parse import urlencode

import asyncpg

from query_service.http.problems import StoreDownError
from query_service.stores.postgres_store import PostgresStore
from shared.views.operations import SCHEMA
from shared.views.operations_queries import HOLDING

NAME: Final = "operations"
ASIDE_S: Final = 1.0
"""The longest an answer about something else waits for a word about its letter."""

# Which index is right depends on what is asked for.
_PLANS: Final = urlencode({"plan_cache_mode": "force_custom_plan"})


class OperationsStore(PostgresStore):
    """Raises StoreDownError like any store, and also when there is no URL to find it by."""

    def __init__(self, url: str) -> None:
        self._named = bool(url)
        super().__init__(NAME, url + ("&" if "?" in url else "?") + _PLANS, SCHEMA)

    async def fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        if not self._named:
            raise StoreDownError(NAME, "TIDEMARK_OPERATIONS_DB_URL is not set")
        return await super().fetch(statement, *arguments)

    async def holding(self, origin: str, stream: str, version: int) -> int | None:
        """The id of the live letter that holds a stream at this version; None if there is none, or nobody can say."""
        try:
            async with asyncio.timeout(ASIDE_S):
                row: Any = await self.fetchrow(HOLDING, origin, stream)
        except TimeoutError as error:
            self._pause.failed("it did not answer in time", error)
            return None
        except StoreDownError:
            return None
        return row["id"] if row is not None and row["version"] == version else None
