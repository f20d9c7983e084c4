"""Gauges of the operators' database: live letters, their causes, replay jobs, and the results of ``tidemark verify``."""

from collections.abc import Mapping, Sequence
from typing import Final

import asyncpg

from shared.messaging import topology
from shared.observability import metrics
from shared.observability.families import Family, Labels
from shared.runtime.postgres import Database

LETTERS: Final = """
SELECT origin, status, fingerprint, count(*) AS letters, extract(epoch FROM min(first_failed_at))::float8 AS since
FROM letters WHERE live GROUP BY origin, status, fingerprint
"""
JOBS: Final = """
SELECT state, count(*) AS jobs FROM jobs WHERE state IN ('pending', 'canary', 'running', 'paused') GROUP BY state
"""
VERIFICATIONS: Final = """
SELECT extract(epoch FROM finished_at)::float8 AS finished_at, differences,
    (SELECT extract(epoch FROM max(finished_at))::float8 FROM verifications WHERE complete AND differences = 0) AS succeeded_at
FROM verifications ORDER BY id DESC LIMIT 1
"""
OPEN_STATES: Final = ("pending", "canary", "running", "paused")
FAMILIES: Final[Sequence[Family]] = (
    metrics.LETTERS,
    metrics.LETTER_GROUPS,
    metrics.NEWEST_GROUP,
    metrics.JOBS,
    metrics.VERIFIED_AT,
    metrics.VERIFY_RAN_AT,
    metrics.VERIFY_DIFFERENCES,
)


class OperationsFigures:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self) -> None:
        """Set FAMILIES. Raises errors for which ``shared.runtime.postgres.is_outage`` is true."""
        pool = await self._database.pool()
        async with pool.acquire(timeout=5) as connection:
            letters = await connection.fetch(LETTERS)
            jobs: dict[str, int] = {row["state"]: row["jobs"] for row in await connection.fetch(JOBS)}
            verified = await connection.fetchrow(VERIFICATIONS)
        show_letters(letters)
        metrics.JOBS.replace({(state,): jobs.get(state, 0) for state in OPEN_STATES})
        if verified is not None:
            metrics.VERIFY_RAN_AT.set(verified["finished_at"])
            metrics.VERIFY_DIFFERENCES.set(verified["differences"])
            if verified["succeeded_at"] is not None:
                metrics.VERIFIED_AT.set(verified["succeeded_at"])


def show_letters(rows: Sequence[asyncpg.Record | Mapping[str, object]]) -> None:
    """``rows``: origin, status, fingerprint, letters, since (seconds). Zero for each origin without any."""
    origins = (*topology.SUBSCRIBERS, "commands")
    counts: dict[Labels, float] = {(origin, state): 0.0 for origin in origins for state in ("dead", "replaying")}
    began: dict[tuple[str, str], float] = {}
    for row in rows:
        origin, since, count = str(row["origin"]), float(str(row["since"])), float(str(row["letters"]))
        counts[origin, str(row["status"])] = counts.get((origin, str(row["status"])), 0.0) + count
        cause = origin, str(row["fingerprint"])
        began[cause] = min(since, began.get(cause, since))
    groups: dict[Labels, float] = {(origin,): 0.0 for origin in origins}
    newest: dict[Labels, float] = {}
    for (origin, _), since in began.items():
        groups[origin,] = groups.get((origin,), 0.0) + 1
        newest[origin,] = max(since, newest.get((origin,), since))
    metrics.LETTERS.replace(counts)
    metrics.LETTER_GROUPS.replace(groups)
    metrics.NEWEST_GROUP.replace(newest)
