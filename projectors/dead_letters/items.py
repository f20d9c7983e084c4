"""What news of letters means for the jobs that replay them. Every count in ``jobs`` changes with the item it counts.

    queued ──sent──▶ sent ──passed──▶ succeeded
       │               ├──failed again──▶ failed
       │               └──no answer──▶ failed
       └──passed, discarded, edited, cancelled──▶ succeeded or skipped

Two jobs over one letter hear the same news. Functions here run within the caller's transaction.
"""

from collections.abc import Sequence
from typing import Final

from shared.postgres import Connection

# A command counts as replayed when the broker has it; should it come back while its job is on, it has failed after all.
FAIL_ITEMS: Final = """
WITH before AS (
    SELECT i.job_id, i.ord, i.status, $2::text = 'failed-again' AND i.fingerprint = l.fingerprint AS same
    FROM job_items i JOIN letters l ON l.id = i.letter_id JOIN jobs j ON j.id = i.job_id
    WHERE i.letter_id = ANY ($1::bigint[])
      AND (i.status = 'sent'
        OR i.status = 'succeeded' AND i.outcome = 'replayed' AND j.state NOT IN ('completed', 'cancelled'))
    ORDER BY i.job_id, i.ord
    FOR UPDATE OF i
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
# $2: each letter's outcome. Where it is 'applied' or 'replayed' the items have succeeded, else they are skipped.
FINISH_ITEMS: Final = """
WITH before AS (
    SELECT i.job_id, i.ord, i.status, news.outcome, news.outcome IN ('applied', 'replayed') AS succeeded
    FROM unnest($1::bigint[], $2::text[]) AS news (letter_id, outcome)
    JOIN job_items i ON i.letter_id = news.letter_id
    WHERE i.status IN ('queued', 'sent')
    ORDER BY i.job_id, i.ord
    FOR UPDATE OF i
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
WITH passed AS (
    SELECT l.id, news.how
    FROM unnest($1::text[], $2::bytea[], $3::text[]) AS news (origin, identity, how)
    JOIN letters l ON l.origin = news.origin AND l.identity = news.identity
    WHERE l.status IN ('dead', 'replaying')
    ORDER BY l.id
    FOR UPDATE OF l
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
    """These letters have failed once more, or were never heard of again."""
    if letter_ids:
        await connection.execute(FAIL_ITEMS, list(letter_ids), why)


async def finish_items(connection: Connection, letter_ids: Sequence[int], outcomes: Sequence[str]) -> None:
    """These letters are live no longer."""
    if letter_ids:
        await connection.execute(FINISH_ITEMS, list(letter_ids), list(outcomes))


async def resolve(connection: Connection, passed: Sequence[tuple[str, bytes, str]]) -> int:
    """Projections have got past these events: (origin, identity, applied or discarded). Returns how many letters that closed."""
    if not passed:
        return 0
    news = sorted(dict.fromkeys(passed))
    rows = await connection.fetch(RESOLVE, [n[0] for n in news], [n[1] for n in news], [n[2] for n in news])
    await finish_items(connection, [row["id"] for row in rows], [row["how"] for row in rows])
    return len(rows)
