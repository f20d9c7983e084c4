"""Each command that a process has sent has its outcome: checked in the process managers' database, if there is one.

A command is without an outcome for a moment while it is on its way, so that is a finding only when the time is up.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import asyncpg

from deploy.verify.errors import server_errors
from deploy.verify.findings import Finding, Kind
from deploy.verify.options import Options
from shared.processes import NAMES, folder_of
from shared.runtime.postgres import connect_pool
from shared.runtime.settings import MissingSettingError, Settings

LIMIT: Final = 1000
"""Commands that are reported of each process manager."""
LAW: Final = "commands-have-outcomes"
STATEMENT: Final = "Each command that a process has sent has an outcome."

WITHOUT_OUTCOME: Final = """
SELECT process, command_id, key, type, sends, pending FROM commands WHERE outcome IS NULL ORDER BY seq LIMIT $1
"""
_UNMIGRATED: Final = (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError)


async def unanswered(settings: Settings, options: Options, names: Sequence[str] = NAMES) -> list[Finding]:
    """Empty if no process managers' database is configured, or it has not been migrated. Raises ServerUnavailableError."""
    try:
        url = settings.processes_url()
    except MissingSettingError:
        return []
    deadline = time.monotonic() + options.max_wait_s
    found: list[Finding] = []
    for name in names:
        while True:
            found_of_one = await _without_outcome(url, name)
            if not found_of_one or time.monotonic() >= deadline:
                break
            await asyncio.sleep(options.recheck_interval_s)
        found += found_of_one
    return found


async def _without_outcome(url: str, name: str) -> list[Finding]:
    with server_errors("process database"):
        pool = await connect_pool(url, schema=folder_of(name), read_only=True, max_size=1)
        try:
            with suppress(*_UNMIGRATED):
                return [_finding(name, row) for row in await pool.fetch(WITHOUT_OUTCOME, LIMIT)]
        finally:
            pool.terminate()
    return []


def _finding(name: str, row: asyncpg.Record) -> Finding:
    detail = {each: row[each] for each in ("command_id", "key", "type", "sends", "pending")}
    return Finding(name, Kind.LAW, row["process"], {"law": LAW, "statement": STATEMENT, **detail})
