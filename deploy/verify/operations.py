"""The operations database, for verify: letters that hold streams, discarded events with their audit entries, results of verify."""

import json
from collections.abc import Sequence
from typing import Any, Final

import asyncpg

from deploy.verify.errors import server_errors
from deploy.verify.report import Report
from shared.runtime.postgres import CONNECT_TIMEOUT_S, connect_pool
from shared.views.operations import SCHEMA

DISCARDED: Final = """
SELECT stream, version FROM letters WHERE origin = $1 AND stream = ANY ($2::text[]) AND status = 'discarded'
"""
# From the audit's own details: the letter may have been removed by retention since.
AUDITED: Final = """
SELECT details ->> 'stream' AS stream, (details ->> 'version')::bigint AS version, letter_id AS letter, actor, reason, at
FROM audit
WHERE act = 'discard' AND details ->> 'origin' = $1 AND details ->> 'stream' = ANY ($2::text[])
ORDER BY id
"""
LIVE: Final = """
SELECT stream, version, id FROM letters
WHERE origin = $1 AND stream = ANY ($2::text[]) AND live
"""
RECORD: Final = "INSERT INTO verifications (complete, differences, details) VALUES ($1, $2, $3::jsonb)"


class Operations:
    """Without a database every result is empty."""

    def __init__(self, pool: asyncpg.Pool | None) -> None:
        self._pool = pool

    async def discarded(self, projection: str, streams: Sequence[str]) -> dict[str, frozenset[int]]:
        found: dict[str, frozenset[int]] = {}
        for row in await self._fetch(DISCARDED, projection, streams):
            found[row["stream"]] = found.get(row["stream"], frozenset()) | {row["version"]}
        return found

    async def audited(self, projection: str, streams: Sequence[str]) -> dict[tuple[str, int], dict[str, Any]]:
        """(stream, version) → letter, actor, reason and time of its discard."""
        return {
            (row["stream"], row["version"]): {
                "letter": row["letter"],
                "actor": row["actor"],
                "reason": row["reason"],
                "at": row["at"].isoformat(),
            }
            for row in await self._fetch(AUDITED, projection, streams)
        }

    async def letters(self, projection: str, streams: Sequence[str]) -> dict[tuple[str, int], int]:
        """(stream, version) → the live letter that holds it."""
        rows = await self._fetch(LIVE, projection, streams)
        return {(row["stream"], row["version"]): row["id"] for row in rows}

    async def _fetch(self, statement: str, projection: str, streams: Sequence[str]) -> list[asyncpg.Record]:
        if self._pool is None or not streams:
            return []
        with server_errors("operations"):
            rows: list[asyncpg.Record] = await self._pool.fetch(statement, projection, list(streams))
            return rows

    async def close(self) -> None:
        if self._pool is not None:
            self._pool.terminate()


async def open_operations(url: str) -> Operations:
    """``url``: may be empty. Raises ServerUnavailableError."""
    if not url:
        return Operations(None)
    with server_errors("operations"):
        return Operations(await connect_pool(url, schema=SCHEMA, read_only=True))


async def record(url: str, report: Report, *, complete: bool) -> str | None:
    """Record the result, for the metrics; returns why it could not be recorded, or None.

    ``complete``: every read model was compared, with all its content.
    """
    details = {key: value for key, value in report.as_json().items() if key != "findings"}
    try:
        connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S, server_settings={"search_path": SCHEMA})
        try:
            await connection.execute(RECORD, complete, report.differences, json.dumps(details, default=str))
        finally:
            await connection.close(timeout=CONNECT_TIMEOUT_S)
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return str(error) or type(error).__name__
    return None
