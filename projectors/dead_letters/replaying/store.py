"""The replay engine's reads and writes. Everything is recorded in a table before it is published.

Functions here run on the engine's own connection; each is one transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

from projectors.dead_letters.actions.audit import SYSTEM, record
from projectors.dead_letters.letters.letter import COMMANDS
from projectors.dead_letters.outgoing import DeadCommand, HeldEvent
from projectors.dead_letters.replaying.items import fail_items, finish_items
from projectors.dead_letters.replaying.jobs import JobProgress, State, Transition
from shared.runtime.postgres import Connection

# One leader at a time, as long as its connection lasts. Plans by key only: see ``items``.
BECOME_LEADER: Final = "SELECT pg_try_advisory_lock(hashtextextended('tidemark dead letters', 0))"
BY_KEY_ONLY: Final = """
SELECT set_config('enable_seqscan', 'off', false), set_config('enable_hashjoin', 'off', false),
    set_config('enable_mergejoin', 'off', false)
"""
# An older version of Tidemark, which did not maintain ``taken``, may have continued a job.
RESTORE_TAKEN: Final = """
UPDATE jobs SET taken = coalesce(
    (SELECT ord - 1 FROM job_items WHERE job_id = jobs.id AND status = 'queued' ORDER BY ord LIMIT 1), total
)
WHERE state IN ('pending', 'canary', 'running', 'paused', 'stopped') OR under_way > 0
"""
# A new leader does not know what its predecessor has published, so it inquires at once about every letter without an outcome.
RETRY_ALL: Final = """
UPDATE job_items SET asked_at = '-infinity', asks = 0
FROM jobs WHERE job_items.job_id = jobs.id AND ord <= taken AND status = 'sent' AND under_way > 0
"""
RETRY_DISCARDS: Final = "UPDATE discards SET due_at = now() WHERE due_at IS NOT NULL"

OPEN_JOBS: Final = """
SELECT id, state, rate, canary, canary_over, concurrency, stop_after, total, under_way, succeeded,
    total - under_way - succeeded - failed - skipped AS queued, same - forgiven AS same,
    up_to, taken, cardinality(ramp) - steps_over AS steps_left,
    failed - failed_before AS step_failed, succeeded - succeeded_before AS step_succeeded,
    coalesce(republished_at < clock_timestamp() - make_interval(secs => $1), true) AS settled
FROM jobs WHERE state IN ('pending', 'canary', 'running', 'paused') ORDER BY id
"""
CANARY: Final = """
SELECT count(*) FILTER (WHERE status IN ('queued', 'sent')) AS open, count(*) FILTER (WHERE status = 'failed') AS failed
FROM job_items WHERE job_id = $1 AND ord <= $2
"""
# All before ``taken`` have been sent.
STEP_QUEUED: Final = """
SELECT EXISTS (SELECT FROM job_items WHERE job_id = $1 AND ord > $2 AND ord <= $3 AND status = 'queued')
"""
TRANSITION: Final = """
UPDATE jobs SET
    state = $3::text, why = $4, canary_over = canary_over OR $3::text = 'running', started_at = coalesce(started_at, now()),
    steps_over = steps_over + $5::boolean::integer,
    failed_before = CASE WHEN $5 OR state = 'canary' THEN failed ELSE failed_before END,
    succeeded_before = CASE WHEN $5 OR state = 'canary' THEN succeeded ELSE succeeded_before END,
    finished_at = CASE WHEN $3::text = 'completed' THEN now() END
WHERE id = $1 AND state = $2
RETURNING id, jsonb_build_object('succeeded', succeeded, 'failed', failed, 'skipped', skipped, 'total', total)::text AS counts
"""
TAKE_ITEMS: Final = (Path(__file__).parent / "take_items.sql").read_text()
COMMAND_PAYLOADS: Final = """
SELECT l.id, p.body, l.content_type, l.routing_key, l.reply_to, l.correlation_id, p.headers ->> 'tidemark-sender'
FROM letters l JOIN payloads p ON p.letter_id = l.id WHERE l.id = ANY ($1::bigint[])
"""
REPLAYED: Final = """
UPDATE letters SET status = 'resolved', resolved_at = now(), resolution = 'replayed'
WHERE id = ANY ($1::bigint[]) AND status = 'replaying' RETURNING id
"""
# ``under_way`` is the number of sent items, usually the last ones taken: scanning backwards from ``taken`` finds them all quickly.
OVERDUE: Final = """
WITH under_way AS MATERIALIZED (
    SELECT sent.* FROM jobs CROSS JOIN LATERAL (
        SELECT job_id, ord, asked_at FROM job_items
        WHERE job_id = jobs.id AND ord <= taken AND status = 'sent'
        ORDER BY ord DESC LIMIT jobs.under_way
    ) AS sent
    WHERE jobs.under_way > 0
), due AS (
    SELECT i.job_id, i.ord, i.letter_id, i.asks
    FROM under_way JOIN job_items i ON i.job_id = under_way.job_id AND i.ord = under_way.ord
    WHERE under_way.asked_at < clock_timestamp() - make_interval(secs => $1) AND i.status = 'sent'
    ORDER BY under_way.asked_at
    LIMIT 1000
    FOR UPDATE OF i SKIP LOCKED
), asked AS (
    UPDATE job_items i SET asked_at = clock_timestamp(), asks = i.asks + 1
    FROM due WHERE i.job_id = due.job_id AND i.ord = due.ord
)
SELECT l.id, max(due.asks) AS asks, l.origin, l.stream, l.version
FROM due JOIN letters l ON l.id = due.letter_id GROUP BY l.id ORDER BY l.id
"""
# Iterates over all live letters repeatedly, a thousand at a time.
LIVE_EVENTS: Final = """
SELECT id, origin, stream, version FROM letters
WHERE live AND stream IS NOT NULL AND origin <> 'commands' AND id > $1 ORDER BY id LIMIT 1000
"""
BACK_TO_DEAD: Final = "UPDATE letters SET status = 'dead' WHERE id = ANY ($1::bigint[]) AND status = 'replaying'"


@dataclass(frozen=True, slots=True)
class Job:
    id: int
    rate: float | None
    concurrency: int
    under_way: int
    succeeded: int
    queued: int
    """Those that may be sent now, at most: no letter beyond ``up_to``, which is the canary's last, or the step's."""
    up_to: int
    progress: JobProgress


@dataclass(frozen=True, slots=True)
class TakenLetters:
    """Letters to send now: events by stream and version, commands by their letters' ids."""

    events: Sequence[HeldEvent]
    commands: Sequence[int]
    count: int
    """Number of letters taken, including those already sent by another job, for whose outcome this job only waits."""


@dataclass(frozen=True, slots=True)
class Overdue:
    """Letters without an outcome for too long: to inquire about, to resend, and given up (letter ids)."""

    inquire: Sequence[HeldEvent]
    resend: TakenLetters
    given_up: Sequence[int]


async def open_jobs(connection: Connection, settle_s: float) -> list[Job]:
    jobs = []
    for row in await connection.fetch(OPEN_JOBS, settle_s):
        canary = None
        if row["state"] == State.CANARY:
            canary = await connection.fetchrow(CANARY, row["id"], row["canary"])
        steps_left = max(0, row["steps_left"]) if row["state"] == State.RUNNING else 0
        step = row["id"], row["taken"], row["up_to"]
        progress = JobProgress(
            state=State(row["state"]),
            canary=row["canary"],
            canary_over=row["canary_over"],
            canary_open=canary["open"] if canary else 0,
            canary_failed=canary["failed"] if canary else 0,
            open=row["queued"] + row["under_way"],
            stop_after=row["stop_after"],
            repeated_failures=row["same"],
            steps_left=steps_left,
            step_open=bool(steps_left and (row["under_way"] or await connection.fetchval(STEP_QUEUED, *step))),
            step_failed=row["step_failed"],
            step_succeeded=row["step_succeeded"],
            settled=row["settled"],
        )
        allowed = min(row["queued"], max(0, row["up_to"] - row["taken"]))
        counts = (row["under_way"], row["succeeded"], allowed, row["up_to"])
        jobs.append(Job(row["id"], row["rate"], row["concurrency"], *counts, progress))
    return jobs


async def apply_transition(connection: Connection, job: Job, transition: Transition) -> None:
    """Apply the transition, unless an operator has changed the state meanwhile. Stopping and completing are recorded in the audit."""
    async with connection.transaction():
        change = (transition.to, transition.why, transition.next_step)
        row = await connection.fetchrow(TRANSITION, job.id, job.progress.state, *change)
        if row is not None and transition.to in (State.STOPPED, State.COMPLETED):
            await record(
                connection, SYSTEM, f"replay-{transition.to}", transition.why, job_id=job.id, details=row["counts"]
            )


async def take(connection: Connection, job: Job, count: int) -> TakenLetters:
    rows = await connection.fetch(TAKE_ITEMS, job.id, job.up_to, count)
    return _taken([row for row in rows if row["goes_out"]], len(rows))


async def overdue(connection: Connection, after_s: float, resend_every: int, give_up_after: int) -> Overdue:
    async with connection.transaction():
        rows = await connection.fetch(OVERDUE, after_s)
        given_up_ids = [row["id"] for row in rows if row["asks"] >= give_up_after]
        if given_up_ids:
            await connection.execute(BACK_TO_DEAD, given_up_ids)
            await fail_items(connection, given_up_ids, "no-answer")
    asked = [row for row in rows if row["asks"] < give_up_after]
    resend = [row for row in asked if row["asks"] % resend_every == 0]
    return Overdue(_taken(asked, 0).events, _taken(resend, len(resend)), given_up_ids)


async def live_events(connection: Connection, after: int) -> tuple[list[HeldEvent], int]:
    """Up to 1000 events of live letters after the letter id ``after``, and the id from which to continue; 0: from the start."""
    rows = await connection.fetch(LIVE_EVENTS, after)
    return list(_taken(rows, 0).events), rows[-1]["id"] if len(rows) == 1000 else 0


async def commands(connection: Connection, letter_ids: Sequence[int]) -> list[DeadCommand]:
    rows = await connection.fetch(COMMAND_PAYLOADS, list(letter_ids))
    return [DeadCommand(*list(row.values())[1:]) for row in rows]


async def replayed(connection: Connection, letter_ids: Sequence[int]) -> None:
    """The broker has confirmed these commands. A command that has failed again meanwhile stays live."""
    async with connection.transaction():
        rows = await connection.fetch(REPLAYED, list(letter_ids))
        await finish_items(connection, [row["id"] for row in rows], ["replayed"] * len(rows))


def _taken(rows: Sequence[asyncpg.Record], count: int) -> TakenLetters:
    events = [HeldEvent(row["origin"], row["stream"], row["version"]) for row in rows if row["stream"] is not None]
    return TakenLetters(events, [row["id"] for row in rows if row["origin"] == COMMANDS], count)
