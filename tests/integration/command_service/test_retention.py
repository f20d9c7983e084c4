"""Outcomes go by their age: which, how far, and what it means for the same command sent again."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from pydantic import ValidationError

from command_service.archiving import retention
from command_service.handling.handler import Handler
from command_service.handling.pending import record_undecided
from command_service.scheduling.scheduled_commands import Waiting, schedule
from shared.runtime.retention import Pruner, RetentionOptions
from shared.runtime.settings import Settings
from tests.integration.command_service.test_handling import register, rename, verdicts

AGE = "UPDATE commands SET decided_at = now() - $2::interval WHERE command_id = ANY ($1::text[])"


@pytest.fixture
async def pruner(migrated: Settings) -> AsyncIterator[Pruner]:
    made = retention.pruner(migrated.write_db_url, RetentionOptions(rejections_retention_days=30))
    yield made
    await made.close()


async def aged(db: asyncpg.Connection, days: float, *ids: str) -> None:
    await db.execute(AGE, list(ids), timedelta(days=days))


async def ids(db: asyncpg.Connection) -> set[str]:
    return {row["command_id"] for row in await db.fetch("SELECT command_id FROM commands")}


async def test_an_outcome_stays_for_its_time_and_then_the_same_command_is_decided_again(
    handler: Handler, write_db: asyncpg.Connection, pruner: Pruner
) -> None:
    await handler.handle([register("k1", "c"), rename("k2", "c", "Bea"), rename("k3", "c", "Cleo")])
    await aged(write_db, 364.9, "k1", "k2")
    assert await pruner.once() == {}
    assert verdicts(await handler.handle([rename("k2", "c", "Bea")])) == ["v2"]
    await aged(write_db, 365.1, "k1", "k2")
    assert await pruner.once() == {"outcomes": 2}
    assert await ids(write_db) == {"k3"}
    # The README says it: it is decided again, on the state of now.
    assert verdicts(await handler.handle([rename("k2", "c", "Bea")])) == ["v4"]
    assert verdicts(await handler.handle([register("k1", "c")])) == ["customer-already-registered"]


async def test_rejections_may_go_earlier_and_nothing_else_with_them(
    handler: Handler, write_db: asyncpg.Connection, pruner: Pruner
) -> None:
    await handler.handle([register("k1", "c"), rename("k2", "nobody", "Bea"), rename("k3", "nobody", "Bea")])
    await aged(write_db, 31, "k1", "k2")
    assert await pruner.once() == {"rejections": 1}
    assert await ids(write_db) == {"k1", "k3"}


async def test_nothing_goes_where_retention_is_for_ever(
    handler: Handler, write_db: asyncpg.Connection, migrated: Settings
) -> None:
    await handler.handle([register("k1", "c")])
    await aged(write_db, 20_000, "k1")
    made = retention.pruner(migrated.write_db_url, RetentionOptions(outcomes_retention_days=0))
    assert await made.once() == {}
    await made.close()
    assert await ids(write_db) == {"k1"}


async def test_why_a_command_is_undecided_goes_and_what_waits_for_its_time_stays(
    handler: Handler, write_db: asyncpg.Connection, pruner: Pruner
) -> None:
    old, new, waits = rename("u1", "c", "Bea"), rename("u2", "c", "Bea"), rename("u3", "c", "Bea")
    await record_undecided(write_db, [(each, "handler-failed") for each in (old, new, waits)])
    due = await write_db.fetchval("SELECT now() - interval '400 days'")
    await schedule(write_db, [Waiting(waits, due)])
    await write_db.execute("UPDATE undecided_commands SET since = now() - interval '400 days' WHERE command_id <> 'u2'")
    try:
        assert await pruner.once() == {"reasons of undecided commands": 1}
        left = await write_db.fetch("SELECT command_id FROM undecided_commands ORDER BY 1")
        assert [row["command_id"] for row in left] == ["u2", "u3"]
        assert await write_db.fetchval("SELECT count(*) FROM scheduled_commands") == 1
    finally:
        await write_db.execute("TRUNCATE scheduled_commands")


async def test_many_are_pruned_in_batches_beside_live_commands_and_only_by_one_at_a_time(
    handler: Handler, write_db: asyncpg.Connection, pruner: Pruner, migrated: Settings
) -> None:
    await write_db.execute(
        "INSERT INTO commands (command_id, source, command_type, body_hash, outcome, decided_at)"
        " SELECT 'old-' || n, 'test', 'x', '', '{}', now() - interval '2 years' FROM generate_series(1, 3500) n"
    )
    await handler.handle([register("r", "c")])
    other = retention.pruner(migrated.write_db_url, RetentionOptions())

    async def deciding() -> list[str]:
        return [one for n in range(40) for one in verdicts(await handler.handle([rename(f"k{n}", "c", f"n{n}")]))]

    first, second, decided = await asyncio.gather(pruner.once(), other.once(), deciding())
    await other.close()
    rest = await pruner.once()
    assert sum(found.get("outcomes", 0) for found in (first, second, rest)) == 3500
    assert decided == [f"v{n}" for n in range(2, 42)]
    assert len(await ids(write_db)) == 41


async def test_who_has_the_lock_prunes_and_others_do_not(
    handler: Handler, write_db: asyncpg.Connection, pruner: Pruner
) -> None:
    await handler.handle([register("k1", "c")])
    await aged(write_db, 400, "k1")
    async with write_db.transaction():
        await write_db.fetchval("SELECT pg_advisory_xact_lock(hashtextextended('tidemark.retention', 0))")
        assert await pruner.once() == {}
    assert await pruner.once() == {"outcomes": 1}


async def test_a_statement_that_fails_is_reported_and_stops_nothing(
    write_db: asyncpg.Connection, pruner: Pruner
) -> None:
    stopping = asyncio.Event()
    await write_db.execute(
        "CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'never'; END $$;"
        "CREATE TRIGGER never BEFORE DELETE ON commands FOR EACH ROW EXECUTE FUNCTION never();"
        "INSERT INTO commands (command_id, command_type, body_hash, outcome, decided_at)"
        " VALUES ('k1', 'x', '', '{}', now() - interval '2 years')"
    )
    try:
        running = asyncio.create_task(pruner.run(stopping))
        async with asyncio.timeout(30):
            while not pruner.trouble:
                await asyncio.wait({running}, timeout=0.05)
        assert "never" in pruner.trouble
        assert not running.done()
    finally:
        await write_db.execute("DROP TRIGGER never ON commands; DROP FUNCTION never()")
    stopping.set()
    await running


@pytest.mark.parametrize("days", ["-1", "soon", "36501"])
def test_a_retention_that_is_none_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, days: str) -> None:
    monkeypatch.setenv("TIDEMARK_OUTCOMES_RETENTION_DAYS", days)
    with pytest.raises(ValidationError, match="outcomes_retention_days"):
        RetentionOptions()


async def test_pruning_looks_up_what_is_old_by_index(write_db: asyncpg.Connection) -> None:
    await write_db.execute("SET enable_seqscan = off")
    for statement in (retention.OUTCOMES, retention.REJECTIONS):
        rows: list[Any] = await write_db.fetch(f"EXPLAIN {statement}", timedelta(days=1), 10)
        plan = "\n".join(row[0] for row in rows)
        assert "Index" in plan, plan
        assert "Seq Scan" not in plan, plan
