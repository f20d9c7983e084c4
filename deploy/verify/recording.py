"""Records the result of each ``tidemark verify`` in the operations database, where the dead-letter worker reads it for the metrics."""

import json
from typing import Final

import asyncpg

from deploy.verify.report import Report
from shared.runtime.postgres import CONNECT_TIMEOUT_S
from shared.views.operations import SCHEMA

RECORD: Final = "INSERT INTO verifications (complete, differences, details) VALUES ($1, $2, $3::jsonb)"


async def record(url: str, report: Report, *, complete: bool) -> str | None:
    """Record it; returns why it could not be, or None. ``complete``: every read model was compared, with all its content."""
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
