"""Verifications and comparisons asked for over HTTP: asked once, carried out by the commands that operators type, cancelled."""

import asyncio
import os
from collections.abc import AsyncIterator

import httpx
import pytest

from deploy.checks.runner import Runner
from shared.runtime.settings import Settings
from tests.integration.dead_letters.harness import Harness


@pytest.fixture
async def runner(migrated: Settings, harness: Harness) -> AsyncIterator[Runner]:
    """Started by the test, ended after it."""
    made, stopping = Runner(migrated.operations_db_url, os.environ), asyncio.Event()
    running = asyncio.create_task(made.run(stopping))
    yield made
    stopping.set()
    await asyncio.wait_for(running, 30)


async def until_closed(client: httpx.AsyncClient, check_id: int) -> dict[str, object]:
    async with asyncio.timeout(90):
        while True:
            found: dict[str, object] = (await client.get(f"/checks/{check_id}")).json()
            if found["state"] not in ("queued", "running"):
                return found
            await asyncio.sleep(0.2)


async def test_a_verification_is_asked_for_once_and_cancelled_before_it_begins(
    ann: httpx.AsyncClient, reader: httpx.AsyncClient, harness: Harness
) -> None:
    body = {"projections": ["summary"], "sample": 10, "reason": "to be sure"}
    once = {"Idempotency-Key": "check-1"}
    first = await ann.post("/checks/verify", json=body, headers=once)
    assert first.status_code == 202, first.text
    again = await ann.post("/checks/verify", json=body, headers=once)
    assert again.json() == first.json()
    check_id = first.json()["check_id"]
    assert first.headers["location"] == f"/checks/{check_id}"
    found = (await ann.get(f"/checks/{check_id}")).json()
    assert (found["state"], found["actor"], found["reason"]) == ("queued", "ann", "to be sure")
    assert found["request"] == {"projections": ["summary"], "sample": 10, "heal": False}
    assert (await reader.post("/checks/verify", json=body)).status_code == 403
    for wrong in (
        {"reason": "x", "projections": ["unicorns"]},
        {"reason": "x", "heal": True, "sample": 3},
        {"projections": ["summary"]},
        {"reason": "x", "kind": "compare"},
    ):
        refused = await ann.post("/checks/verify", json=wrong)
        assert (refused.status_code, refused.json()["code"]) == (422, "validation-failed"), wrong
    cancelled = await ann.post(f"/checks/{check_id}/cancel", json={"reason": "not now"})
    assert cancelled.status_code == 200
    assert (await ann.get(f"/checks/{check_id}")).json()["state"] == "cancelled"
    twice = await ann.post(f"/checks/{check_id}/cancel", json={"reason": "not now"})
    assert (twice.status_code, twice.json()["code"]) == (409, "check-closed")
    assert (await ann.get("/checks/999")).status_code == 404
    acts = [one["act"] for one in (await ann.get("/audit?actor=ann")).json()["items"]]
    assert acts == ["cancel-check", "check"]
    as_csv = await ann.get("/audit?actor=ann", headers={"Accept": "text/csv"})
    assert as_csv.headers["content-type"].startswith("text/csv")
    assert [line.split(",")[4] for line in as_csv.text.splitlines()] == ["act", "cancel-check", "check"]


async def test_a_check_has_the_result_of_its_command_or_says_why_there_is_none(
    ann: httpx.AsyncClient, harness: Harness, runner: Runner
) -> None:
    asked = await ann.post("/checks/verify", json={"projections": ["search"], "sample": 5, "reason": "to be sure"})
    found = await until_closed(ann, asked.json()["check_id"])
    assert found["state"] == "finished", found
    result = found["result"]
    assert isinstance(result, dict)
    assert result["equal"] == found["equal"]
    assert list(result["generations"]) == ["search"]
    compared = await ann.post("/checks/compare", json={"projections": ["search"], "reason": "before a switch"})
    failed = await until_closed(ann, compared.json()["check_id"])
    assert failed["state"] == "failed"
    assert "no other: rebuild it first" in str(failed["error"])
    listed = (await ann.get("/checks?limit=1")).json()
    assert [one["kind"] for one in listed["items"]] == ["compare"]
    assert listed["next_cursor"]
    assert runner.trouble is None
