"""Deployments, for the audit: a process has started with another version than the one of that name before it."""

import json
from collections.abc import Sequence
from typing import Any, Final

from projectors.dead_letters.actions.audit import SYSTEM, Entry, record_all
from shared.messages.changes import Started
from shared.messages.control import Request
from shared.messaging.topology import SUBSCRIBERS
from shared.runtime.postgres import Connection

# No row: it has the version that it had before.
NOTE: Final = """
WITH before AS MATERIALIZED (
    SELECT version FROM builds WHERE process = $1
), noted AS (
    INSERT INTO builds (process, version, since) VALUES ($1, $2, $3)
    ON CONFLICT (process) DO UPDATE SET version = excluded.version, since = excluded.since
    WHERE builds.version <> excluded.version
    RETURNING process
)
SELECT before.version AS before FROM noted LEFT JOIN before ON true
"""


async def record_deployments(connection: Connection, messages: Sequence[Request[Any]]) -> None:
    """Record those of the processes that have another version than before; runs in the caller's transaction."""
    for message in messages:
        one: Started = message.data
        changed = await connection.fetchrow(NOTE, one.process, one.version, message.time)
        if changed is None:
            continue
        before = changed["before"]
        reason = f"{one.process} runs {one.version}, " + (f"before {before}" if before else "for the first time")
        details = json.dumps({"process": one.process, "version": one.version, "before": before, "host": one.host})
        projection = one.process if one.process in SUBSCRIBERS else None
        entry = Entry(message.time, SYSTEM, "deployed", reason, projection=projection, details=details, once=message.id)
        await record_all(connection, [entry])
