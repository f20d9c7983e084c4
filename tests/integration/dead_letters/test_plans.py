"""What a replay does to a thousand letters costs the same whatever the planner believes about the tables."""

import json
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from projectors.dead_letters.letters.letter import event_identity
from projectors.dead_letters.replaying.items import BY_KEY_ONLY, FAIL_ITEMS, FINISH_ITEMS, RESOLVE
from projectors.dead_letters.replaying.store import TAKE_ITEMS

LETTERS = 3000
BATCH = 300
FILL = """
INSERT INTO letters (origin, identity, stream, version, type, reason, exception, fingerprint, attempts, first_failed_at,
    last_failed_at, seen, routing_key, content_type, size)
SELECT 'summary', identity, stream, 1, 'orders.order-placed', 'projection-failed', 'x', 'x', 4, now(), now(), 1, 'summary', '', 1
FROM unnest($1::text[], $2::bytea[]) AS new (stream, identity)
"""
JOB = """
INSERT INTO jobs (request_id, actor, reason, selection, canary, concurrency, total)
VALUES (gen_random_uuid()::text, 'ann', '', '{}', 0, 500, $1) RETURNING id
"""
FREEZE = """
INSERT INTO job_items (job_id, ord, letter_id, fingerprint)
SELECT $1, row_number() OVER (ORDER BY id), id, fingerprint FROM letters
"""
WRITTEN = """
SELECT pg_stat_get_xact_tuples_updated(name::regclass) AS all, pg_stat_get_xact_tuples_hot_updated(name::regclass) AS in_page
FROM unnest('{letters, job_items}'::text[]) AS name
"""
STREAMS = [f"orders/o{number}" for number in range(LETTERS)]
IDENTITIES = [event_identity(stream, 1) for stream in STREAMS]


@pytest.fixture
async def yesterday(db: asyncpg.Connection) -> int:
    """A job of today, after one of yesterday that brought all letters home, which is what the statistics remember. Its id."""
    await db.execute(FILL, STREAMS, IDENTITIES)
    await db.execute(FREEZE, await db.fetchval(JOB, LETTERS))
    await db.execute("UPDATE job_items SET status = 'succeeded', outcome = 'applied'")
    await db.execute("UPDATE letters SET status = 'resolved'")
    await db.execute("ANALYZE letters, job_items, jobs")
    await db.execute("UPDATE letters SET status = 'dead'")
    job_id: int = await db.fetchval(JOB, LETTERS)
    await db.execute(FREEZE, job_id)
    return job_id


async def test_letters_are_found_by_their_keys_whatever_statistics_say(db: asyncpg.Connection, yesterday: int) -> None:
    ids = list(range(1, BATCH + 1))
    origins, how = ["summary"] * BATCH, ["applied"] * BATCH
    statements: list[tuple[str, tuple[Any, ...]]] = [
        (TAKE_ITEMS, (yesterday, LETTERS, BATCH)),
        (FAIL_ITEMS, (ids, "no-answer")),
        (TAKE_ITEMS, (yesterday, LETTERS, BATCH)),
        (RESOLVE, (origins, IDENTITIES[BATCH : 2 * BATCH], how)),
        (FINISH_ITEMS, (list(range(BATCH + 1, 2 * BATCH + 1)), how)),
    ]
    async with db.transaction():
        await db.execute(BY_KEY_ONLY)
        for statement, arguments in statements:
            [[answer]] = await db.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *arguments)
            assert sum(_thrown_away(json.loads(answer)[0]["Plan"])) <= 4 * BATCH, answer
    assert tuple(await db.fetchrow("SELECT succeeded, failed FROM jobs WHERE id = $1", yesterday) or ()) == (
        BATCH,
        BATCH,
    )


async def test_a_letter_that_goes_out_again_is_written_in_its_page_and_in_no_index_nor_is_its_item_ever(
    db: asyncpg.Connection, yesterday: int
) -> None:
    await db.execute("VACUUM FULL letters")
    await db.execute("VACUUM FULL job_items")
    statements: list[tuple[str, tuple[Any, ...], list[int]]] = [
        (TAKE_ITEMS, (yesterday, LETTERS, BATCH), [BATCH, BATCH]),
        (FINISH_ITEMS, (list(range(1, BATCH + 1)), ["applied"] * BATCH), [0, BATCH]),
    ]
    for statement, arguments, written in statements:
        async with db.transaction():
            await db.execute(BY_KEY_ONLY)
            before = await db.fetch(WRITTEN)
            await db.fetch(statement, *arguments)
            after = await db.fetch(WRITTEN)
        found = [
            (now["all"] - then["all"], now["in_page"] - then["in_page"])
            for then, now in zip(before, after, strict=True)
        ]
        assert [rows for rows, _ in found] == written, statement
        assert all(in_page >= 0.9 * rows for rows, in_page in found), (statement, found)


def _thrown_away(node: dict[str, Any]) -> Iterator[int]:
    """Rows that each node has looked at in vain."""
    for reason in ("Rows Removed by Join Filter", "Rows Removed by Filter"):
        yield node.get(reason, 0) * node["Actual Loops"]
    for child in node.get("Plans", ()):
        yield from _thrown_away(child)
