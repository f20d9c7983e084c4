"""Closed letters, old failures, the letters of finished jobs and the audit go by their age; what is live or under way never does."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from deploy.cli.audit.chain import verify_chain
from projectors.dead_letters import retention
from shared.runtime.retention import Pruner, RetentionOptions
from tests.integration.dead_letters.harness import Harness

ALL = {"everything": True}
OLD = """
UPDATE letters SET resolved_at = resolved_at - interval '400 days';
UPDATE jobs SET finished_at = finished_at - interval '400 days';
UPDATE requests SET at = at - interval '400 days';
UPDATE letter_failures SET failed_at = failed_at - interval '400 days'
"""
COUNTS = """
SELECT (SELECT count(*) FROM payloads) AS payloads, (SELECT count(*) FROM letter_failures) AS letter_failures,
    (SELECT count(*) FROM discards) AS discards, (SELECT count(*) FROM resent_commands) AS resent_commands
"""


@pytest.fixture
async def pruner(harness: Harness) -> AsyncIterator[Pruner]:
    made = retention.pruner(harness.settings.operations_db_url, RetentionOptions(audit_retention_days=365))
    yield made
    await made.close()


async def aged(harness: Harness) -> None:
    """All that has happened so far happened long ago."""
    await harness.db.execute(OLD)


async def test_closed_letters_go_with_all_that_belongs_to_them_and_live_ones_stay(
    harness: Harness, pruner: Pruner
) -> None:
    await harness.play()
    await harness.start()
    await harness.die("orders/discarded", 4)
    await harness.die("orders/live", 1)
    await harness.command_dies("k1")
    await harness.statuses(dead=3)
    letters = {row["stream"] or row["command_id"]: row["id"] for row in await harness.db.fetch("SELECT * FROM letters")}
    await harness.ask("discard", selection={"stream": "orders/discarded"}, reason="a test")
    edited: dict[str, Any] = {"data": {"name": "Zoe"}, "command_id": "k1-mended", "reason": "no umlauts"}
    await harness.ask("edit", letter_id=letters["k1"], **edited)
    await harness.statuses(dead=1, discarded=1, superseded=1)

    async def settled() -> bool:
        return bool(
            await harness.db.fetchval(
                "SELECT NOT EXISTS (SELECT FROM marks) AND NOT EXISTS (SELECT FROM resent_commands WHERE published_at IS NULL)"
            )
        )

    await harness.until(settled)
    await harness.command_dies("k1-mended", {"name": "Zoe"})
    await harness.statuses(dead=2, discarded=1, superseded=1)
    assert await pruner.once() == {}, "nothing is old enough"
    await aged(harness)
    assert await pruner.once() == {"closed dead letters": 2, "answers to operators' requests": 2}
    left = await harness.db.fetch("SELECT stream, command_id, replaces FROM letters ORDER BY id")
    assert [(row["stream"] or row["command_id"], row["replaces"]) for row in left] == [
        ("orders/live", None),
        ("k1-mended", letters["k1"]),
    ]
    assert dict(*await harness.db.fetch(COUNTS)) == {
        "payloads": 2,
        "letter_failures": 2,
        "discards": 0,
        "resent_commands": 0,
    }
    # What was done to the letters that are gone is still on record, with what it was done to.
    acts = await harness.db.fetch("SELECT act, details FROM audit ORDER BY number")
    assert [row["act"] for row in acts] == ["discard", "edit"]
    assert json.loads(acts[0]["details"])["stream"] == "orders/discarded"


@pytest.mark.parametrize("kept", ["job", "discard", "mark", "edited"])
async def test_a_letter_that_something_still_needs_stays(harness: Harness, pruner: Pruner, kept: str) -> None:
    await harness.start()
    await harness.command_dies("k1")
    await harness.statuses(dead=1)
    await harness.db.execute("UPDATE letters SET status = 'resolved', resolved_at = now() - interval '400 days'")
    job = (
        "INSERT INTO jobs (request_id, actor, reason, selection, canary, concurrency) VALUES ('r', 'a', '', '{}', 0, 1)"
    )
    needs: dict[str, list[str]] = {
        "job": [
            job,
            "INSERT INTO job_items (job_id, ord, letter_id, status, fingerprint) SELECT 1, 1, id, 'sent', '' FROM letters",
        ],
        "discard": [
            "INSERT INTO discards (letter_id, request_id, actor, reason, due_at) SELECT id, 'r', 'a', '', 'infinity' FROM letters"
        ],
        "mark": ["INSERT INTO marks SELECT id, 'discarded' FROM letters"],
        "edited": [
            "INSERT INTO resent_commands (command_id, letter_id, request_id, type, body, actor, reason)"
            " SELECT 'k', id, 'r', 't', '', 'a', '' FROM letters"
        ],
    }
    (worker,) = harness.workers
    await worker.kill()
    for statement in needs[kept]:
        await harness.db.execute(statement)
    assert await pruner.once() == {}
    assert await harness.db.fetchval("SELECT count(*) FROM letters") == 1


async def test_old_failures_of_a_live_letter_go_and_its_latest_stays(harness: Harness, pruner: Pruner) -> None:
    await harness.start()
    for number in range(4):
        await harness.die("orders/o1", message=f"boom {number}")
        await harness.until(lambda wanted=number + 1: failures(harness, wanted))  # type: ignore[misc]
    await harness.db.execute("UPDATE letter_failures SET failed_at = failed_at - interval '100 days'")
    assert await pruner.once() == {"failures of dead letters": 3}
    assert await harness.db.fetchval("SELECT exception FROM letter_failures") == "ValueError: boom 3"
    await harness.die("orders/o1", message="boom again")
    await harness.until(lambda: failures(harness, 2))
    assert await harness.db.fetchval("SELECT attempts FROM letters") == 8


async def failures(harness: Harness, count: int) -> bool:
    return bool(await harness.db.fetchval("SELECT count(*) = $1 FROM letter_failures", count))


async def test_the_letters_of_finished_jobs_go_and_the_jobs_stay(harness: Harness, pruner: Pruner) -> None:
    await harness.play()
    await harness.start()
    for number in range(3):
        await harness.die(f"orders/o{number}")
    await harness.statuses(dead=3)
    done = await harness.ask("replay", selection={"stream": "orders/o0"}, request_id="first")
    await harness.job(done["job_id"], "completed")
    # Of two letters at this rate, one waits for a minute and more: the job is paused before it can end.
    waits = await harness.ask("replay", selection={"everything": True}, rate=0.01, reason="later")
    await harness.ask("steer", job_id=waits["job_id"], to="paused")
    await aged(harness)
    removed = await pruner.once()
    assert removed["letters of finished jobs"] == 1
    assert await harness.db.fetchval("SELECT count(*) FROM jobs") == 2
    assert [row["job_id"] for row in await harness.db.fetch("SELECT job_id FROM job_items")] == [waits["job_id"]] * 2
    again: dict[str, Any] = await harness.ask("replay", selection={"stream": "orders/o0"}, request_id="first")
    assert again["job_id"] == done["job_id"], "what made a job is answered as before, so that it is not done twice"


async def test_the_audit_goes_by_whole_days_and_stays_verifiable(harness: Harness, pruner: Pruner) -> None:
    await harness.db.execute(
        "INSERT INTO audit (at, actor, act, reason) SELECT now() - make_interval(days => 400 - n), 'ann', 'replay', ''"
        " FROM generate_series(0, 39) n"
    )
    kept_from = await harness.db.fetchval("SELECT date_trunc('day', now() - interval '365 days', 'UTC')")
    assert (await pruner.once()).keys() == {"rows of the audit"}
    assert await pruner.once() == {}
    assert await harness.db.fetchval("SELECT min(at) >= $1 FROM audit", kept_from)
    assert await harness.db.fetchval("SELECT count(*) FROM audit WHERE act = 'replay'") >= 4
    report = await verify_chain(harness.db)
    assert report.intact, report.findings
    assert report.pruned == 40 - await harness.db.fetchval("SELECT count(*) FROM audit WHERE act = 'replay'")
