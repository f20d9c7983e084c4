"""Applies the outcomes of letters to the jobs that replay them. Counts in ``jobs`` change in the same transaction as their items.

    queued ──sent──▶ sent ──passed──▶ succeeded
       │               ├──failed again──▶ failed
       │               └──no answer──▶ failed
       └──passed, discarded, edited, cancelled──▶ succeeded or skipped

An outcome applies to the items of every job that has the letter. Functions here run within the caller's transaction.
"""

from collections.abc import Sequence
from typing import Final

from shared.runtime.postgres import Connection

# A batch accesses rows by their keys only, while tables grow from empty to millions of rows and statistics lag behind. So no plan may
# scan a whole table.
BY_KEY_ONLY: Final = """
SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
    set_config('enable_mergejoin', 'off', true)
"""
# Each statement finds its rows by index lookups (OFFSET 0 and LIMIT 1 enforce them, regardless of statistics), locks them by key, and
# only then filters by status: see ``take_items.sql``.

# A command counts as replayed when the broker has confirmed it; if it fails again while its job is open, its item becomes failed.
FAIL_ITEMS: Final = """
WITH found AS MATERIALIZED (
    SELECT item.job_id, item.ord, l.fingerprint
    FROM unnest($1::bigint[]) AS news (letter_id)
    CROSS JOIN LATERAL (SELECT fingerprint FROM letters WHERE id = news.letter_id LIMIT 1) AS l
    CROSS JOIN LATERAL (SELECT job_id, ord FROM job_items WHERE letter_id = news.letter_id OFFSET 0) AS item
), locked AS MATERIALIZED (
    SELECT i.job_id, i.ord, i.status, i.outcome, i.fingerprint = found.fingerprint AS as_before
    FROM found JOIN job_items i ON i.job_id = found.job_id AND i.ord = found.ord
    ORDER BY i.job_id, i.ord
    FOR UPDATE OF i
), before AS MATERIALIZED (
    SELECT locked.job_id, ord, status, $2::text = 'failed-again' AND as_before AS same
    FROM locked
    CROSS JOIN LATERAL (SELECT state FROM jobs WHERE id = locked.job_id LIMIT 1) AS job
    WHERE status = 'sent' OR status = 'succeeded' AND outcome = 'replayed' AND state NOT IN ('completed', 'cancelled')
), changed AS (
    UPDATE job_items i SET status = 'failed', outcome = $2
    FROM before WHERE i.job_id = before.job_id AND i.ord = before.ord
)
UPDATE jobs SET
    under_way = under_way - counted.sent, succeeded = jobs.succeeded - counted.succeeded,
    failed = jobs.failed + counted.failed, same = jobs.same + counted.same
FROM (
    SELECT job_id, count(*) AS failed, count(*) FILTER (WHERE status = 'sent') AS sent,
        count(*) FILTER (WHERE status = 'succeeded') AS succeeded, count(*) FILTER (WHERE same) AS same
    FROM before GROUP BY job_id
) AS counted
WHERE jobs.id = counted.job_id
"""
# $2: each letter's outcome. 'applied' and 'replayed' make the items succeeded, others skipped.
FINISH_ITEMS: Final = """
WITH found AS MATERIALIZED (
    SELECT item.job_id, item.ord, news.outcome
    FROM unnest($1::bigint[], $2::text[]) AS news (letter_id, outcome)
    CROSS JOIN LATERAL (SELECT job_id, ord FROM job_items WHERE letter_id = news.letter_id OFFSET 0) AS item
), locked AS MATERIALIZED (
    SELECT i.job_id, i.ord, i.status, found.outcome
    FROM found JOIN job_items i ON i.job_id = found.job_id AND i.ord = found.ord
    ORDER BY i.job_id, i.ord
    FOR UPDATE OF i
), before AS MATERIALIZED (
    SELECT job_id, ord, status, outcome, outcome IN ('applied', 'replayed') AS succeeded
    FROM locked WHERE status IN ('queued', 'sent')
), changed AS (
    UPDATE job_items i
    SET status = CASE WHEN before.succeeded THEN 'succeeded' ELSE 'skipped' END, outcome = before.outcome
    FROM before WHERE i.job_id = before.job_id AND i.ord = before.ord
)
UPDATE jobs SET
    under_way = under_way - counted.sent, succeeded = jobs.succeeded + counted.succeeded, skipped = jobs.skipped + counted.skipped
FROM (
    SELECT job_id, count(*) FILTER (WHERE status = 'sent') AS sent, count(*) FILTER (WHERE succeeded) AS succeeded,
        count(*) FILTER (WHERE NOT succeeded) AS skipped
    FROM before GROUP BY job_id
) AS counted
WHERE jobs.id = counted.job_id
"""
RESOLVE: Final = """
WITH found AS MATERIALIZED (
    SELECT l.id, news.how
    FROM unnest($1::text[], $2::bytea[], $3::text[]) AS news (origin, identity, how)
    CROSS JOIN LATERAL (
        SELECT id FROM letters WHERE letters.origin = news.origin AND letters.identity = news.identity LIMIT 1
    ) AS l
), locked AS MATERIALIZED (
    SELECT l.id, l.status, found.how FROM found JOIN letters l ON l.id = found.id
    ORDER BY l.id
    FOR UPDATE OF l
), passed AS MATERIALIZED (
    SELECT id, how FROM locked WHERE status IN ('dead', 'replaying')
), obeyed AS (
    UPDATE discards SET due_at = NULL FROM passed WHERE discards.letter_id = passed.id
)
UPDATE letters SET
    status = CASE WHEN passed.how = 'discarded' THEN 'discarded' ELSE 'resolved' END,
    resolved_at = now(), resolution = passed.how
FROM passed WHERE letters.id = passed.id
RETURNING letters.id, passed.how
"""


async def fail_items(connection: Connection, letter_ids: Sequence[int], why: str = "failed-again") -> None:
    """These letters have failed again, or got no outcome (``why``)."""
    if letter_ids:
        await connection.execute(FAIL_ITEMS, list(letter_ids), why)


async def finish_items(connection: Connection, letter_ids: Sequence[int], outcomes: Sequence[str]) -> None:
    """These letters are no longer live."""
    if letter_ids:
        await connection.execute(FINISH_ITEMS, list(letter_ids), list(outcomes))


async def resolve(connection: Connection, passed: Sequence[tuple[str, bytes, str]]) -> int:
    """Close the letters of events that projections have passed: (origin, identity, how; see ``PassedEvent``).

    Returns the number of letters closed.
    """
    if not passed:
        return 0
    distinct = sorted(dict.fromkeys(passed))
    await connection.execute(BY_KEY_ONLY)
    rows = await connection.fetch(RESOLVE, [n[0] for n in distinct], [n[1] for n in distinct], [n[2] for n in distinct])
    await finish_items(connection, [row["id"] for row in rows], [row["how"] for row in rows])
    return len(rows)
