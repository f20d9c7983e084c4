"""Whether an administrator has forbidden operators' acts over HTTP: the row of the operations database that the query service reads."""

from typing import Final

from command_service.http.responses import available_within
from shared.http.problems import Problem
from shared.runtime.postgres import Database
from shared.views.operations import SCHEMA, ReadOnlyView
from shared.views.operations_queries import READ_ONLY

DEADLINE_S: Final = 3.0
UNKNOWN: Final = "whether operators' acts are forbidden cannot be read at the moment"


class ActsSwitch:
    def __init__(self, operations_db_url: str) -> None:
        self._database = Database(operations_db_url, schema=SCHEMA, read_only=True, max_size=1)

    async def require_allowed(self) -> None:
        """Raises Problem: 423 while acts are forbidden, 503 while that cannot be read."""
        async with available_within(DEADLINE_S, UNKNOWN):
            found = ReadOnlyView.of(await self._database.read(lambda connection: connection.fetchrow(READ_ONLY)))
        if found.on:
            detail = f"operators' acts are forbidden by {found.by}: {found.reason}"
            raise Problem(detail, status=423, code="read-only")

    async def close(self) -> None:
        await self._database.close()
