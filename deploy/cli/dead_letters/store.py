"""Reads the operations database for the command line: one read-only connection for the duration of a command."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final, TypeVar

import asyncpg
from pydantic_core import from_json

from shared.messages.control import Selection
from shared.runtime.postgres import CONNECT_TIMEOUT_S
from shared.runtime.settings import Settings
from shared.views.operations import (
    SCHEMA,
    AuditEntry,
    EditedCommandView,
    FailureView,
    GroupView,
    JobView,
    LetterDetail,
    LetterStatus,
    LetterView,
    ReadOnlyView,
)
from shared.views.operations_queries import (
    AUDIT,
    COUNT_LIVE,
    EDITED,
    FAILURES,
    GROUPS,
    JOB,
    JOB_LETTERS,
    JOBS,
    LETTER,
    LETTERS,
    LIVE_LETTERS,
    MAX_ID,
    READ_ONLY,
    AuditFilter,
    parameters,
)

QUERY_TIMEOUT_S: Final = 30.0
PAGE_SIZE: Final = 1000

Result = TypeVar("Result")

_NOT_MIGRATED_ERRORS: Final = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedFunctionError,
    asyncpg.UndefinedColumnError,
    asyncpg.InvalidSchemaNameError,
)


class OperationsUnavailableError(OSError):
    """The operations database cannot be read now; the message gives the reason in one line."""


class OperationsDatabase:
    """Queries that return models of ``shared.views.operations``.

    They raise OperationsUnavailableError, or an error that ``is_outage`` recognises.
    """

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def groups(self, selection: Selection, limit: int) -> list[GroupView]:
        return [GroupView(**row) for row in await self._fetch(GROUPS, *parameters(selection), limit)]

    async def letters(
        self, selection: Selection, limit: int, statuses: list[LetterStatus] | None = None, *, live: bool = True
    ) -> list[LetterView]:
        """Letters, the latest failure first. ``live``: those that are dead or under way; else those with ``statuses``, or all."""
        chosen, found = parameters(selection), list[LetterView]()
        after: tuple[datetime | None, int] = (None, 0)
        while len(found) < limit:
            count = min(PAGE_SIZE, limit - len(found))
            if live:
                rows = await self._fetch(LIVE_LETTERS, *chosen, *after, count)
            else:
                rows = await self._fetch(LETTERS, *chosen, *after, count, statuses and [one.value for one in statuses])
            found += [LetterView(**row) for row in rows]
            if len(rows) < count:
                break
            after = (rows[-1]["last_failed_at"], rows[-1]["id"])
        return found

    async def count(self, selection: Selection) -> int:
        """How many live letters match the selection."""
        (row,) = await self._fetch(COUNT_LIVE, *parameters(selection))
        count: int = row[0]
        return count

    async def letter(self, letter_id: int) -> LetterDetail | None:
        rows = await self._fetch(LETTER, letter_id)
        if not rows:
            return None
        row: dict[str, Any] = dict(rows[0])
        row |= {"body": row["body"].decode(errors="replace"), "headers": from_json(row["headers"])}
        failures = [FailureView(**one) for one in await self._fetch(FAILURES, letter_id)]
        edited = [EditedCommandView(**one) for one in await self._fetch(EDITED, letter_id)]
        return LetterDetail(**row, failures=failures, edited=edited)

    async def read_only(self) -> ReadOnlyView:
        return ReadOnlyView.of(next(iter(await self._fetch(READ_ONLY)), None))

    async def jobs(self, limit: int) -> list[JobView]:
        return [_job(row) for row in await self._fetch(JOBS, MAX_ID, limit)]

    async def job(self, job_id: int) -> JobView | None:
        rows = await self._fetch(JOB, job_id)
        return _job(rows[0]) if rows else None

    async def job_letters(self, job_id: int, status: str | None, limit: int) -> list[dict[str, Any]]:
        """A job's letters in the job's order, with ord, letter_id, status, outcome, sent_at."""
        return [dict(row) for row in await self._fetch(JOB_LETTERS, job_id, 0, limit, status)]

    async def audit(self, chosen: AuditFilter, limit: int) -> list[AuditEntry]:
        """Audit entries, the latest first."""
        rows = await self._fetch(AUDIT, MAX_ID, *chosen.parameters, limit)
        return [AuditEntry(**{**row, "details": from_json(row["details"])}) for row in rows]

    async def read(self, reading: Callable[[asyncpg.Connection], Awaitable[Result]]) -> Result:
        """What ``reading`` finds, however long it takes."""
        try:
            return await reading(self._connection)
        except _NOT_MIGRATED_ERRORS as error:
            raise _not_migrated() from error

    async def _fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        try:
            async with asyncio.timeout(QUERY_TIMEOUT_S):
                rows: list[asyncpg.Record] = await self._connection.fetch(statement, *arguments)
                return rows
        except TimeoutError as error:
            raise OperationsUnavailableError("the operations database did not answer in time") from error
        except _NOT_MIGRATED_ERRORS as error:
            raise _not_migrated() from error


@asynccontextmanager
async def open_operations_database(settings: Settings) -> AsyncIterator[OperationsDatabase]:
    """Connect for the duration of the block.

    Raises MissingSettingError, OperationsUnavailableError, or an error that ``is_outage`` recognises.
    """
    url = settings.require("operations_db_url")
    session = {
        "search_path": f"{SCHEMA}, public",
        "timezone": "UTC",
        "application_name": "tidemark cli",
        "default_transaction_read_only": "on",
        "plan_cache_mode": "force_custom_plan",
    }
    try:
        connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S, server_settings=session)
    except TimeoutError as error:
        raise OperationsUnavailableError("the operations database did not answer in time") from error
    except ValueError as error:
        raise OperationsUnavailableError(f"TIDEMARK_OPERATIONS_DB_URL is no address of a database: {error}") from error
    try:
        yield OperationsDatabase(connection)
    finally:
        connection.terminate()


def _not_migrated() -> OperationsUnavailableError:
    return OperationsUnavailableError("the operations database lacks tables of this version: run tidemark migrate")


def _job(row: asyncpg.Record) -> JobView:
    return JobView(**{**row, "selection": from_json(row["selection"])})
