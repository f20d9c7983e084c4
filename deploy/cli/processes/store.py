"""Reads the process managers' database for the command line: one read-only connection for each command."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
from pydantic_core import from_json

from deploy.errors import ServerUnavailableError
from shared.processes import NAMES, folder_of
from shared.runtime.postgres import CONNECT_TIMEOUT_S
from shared.runtime.settings import Settings
from shared.views.processes import (
    FIGURES,
    HISTORY,
    LATEST,
    MAX_NUMBER,
    PROCESS,
    PROCESSES_PAGE,
    SENT_COMMANDS,
    TIMERS_SET,
    ProcessDetail,
    ProcessFigures,
    ProcessStatus,
    ProcessView,
)

PAGE_SIZE: Final = 1000
JSON_COLUMNS: Final = ("waiting_for", "failure", "state", "data", "body", "outcome")
IN_SCHEMA: Final = "SELECT set_config('search_path', $1, false)"


class ProcessDatabase:
    """Raises ServerUnavailableError where a schema has not been migrated, or an error that ``is_outage`` recognises."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    async def figures(self, name: str) -> ProcessFigures:
        (row,) = await self._fetch(name, FIGURES)
        return ProcessFigures(name=name, **row)

    async def processes(
        self, names: Sequence[str], limit: int, *, state: ProcessStatus | None = None, waiting_for: str | None = None
    ) -> list[ProcessView]:
        """Processes of these process managers, the latest first."""
        found: list[ProcessView] = []
        for name in names:
            below = MAX_NUMBER
            while len(found) < limit:
                count = min(PAGE_SIZE, limit - len(found))
                rows = await self._fetch(name, PROCESSES_PAGE, state, waiting_for, below, count)
                found += [ProcessView(name=name, **_plain(row)) for row in rows]
                if len(rows) < count:
                    break
                below = rows[-1]["number"]
        return found

    async def process(self, name: str, process_id: str, latest: int = LATEST) -> ProcessDetail | None:
        rows = await self._fetch(name, PROCESS, process_id)
        if not rows:
            return None
        parts = {
            "timers": await self._fetch(name, TIMERS_SET, process_id),
            "history": await self._fetch(name, HISTORY, process_id, latest),
            "commands": await self._fetch(name, SENT_COMMANDS, process_id, latest),
        }
        fields: dict[str, Any] = {part: [_plain(row) for row in found] for part, found in parts.items()}
        return ProcessDetail(name=name, **_plain(rows[0]), **fields)

    async def enter(self, name: str) -> None:
        """Run what follows in the schema of this process manager."""
        await self.connection.fetchval(IN_SCHEMA, folder_of(name))

    async def _fetch(self, name: str, statement: str, *arguments: object) -> list[asyncpg.Record]:
        await self.enter(name)
        try:
            rows: list[asyncpg.Record] = await self.connection.fetch(statement, *arguments)
        except asyncpg.UndefinedTableError as error:
            raise ServerUnavailableError(f"{name} has no tables yet: run tidemark migrate") from error
        return rows


@asynccontextmanager
async def open_process_database(settings: Settings) -> AsyncIterator[ProcessDatabase]:
    """Connect for the duration of the block. Raises MissingSettingError, or an error that ``is_outage`` recognises."""
    session = {
        "timezone": "UTC",
        "application_name": "tidemark cli",
        "default_transaction_read_only": "on",
        "statement_timeout": "30s",
    }
    connection = await asyncpg.connect(
        settings.processes_url(), timeout=CONNECT_TIMEOUT_S, server_settings=session, statement_cache_size=0
    )
    try:
        yield ProcessDatabase(connection)
    finally:
        connection.terminate()


def chosen(name: str | None) -> Sequence[str]:
    return NAMES if name is None else (name,)


def _plain(row: asyncpg.Record) -> dict[str, Any]:
    return {
        column: from_json(value) if column in JSON_COLUMNS and value is not None else value
        for column, value in row.items()
    }
