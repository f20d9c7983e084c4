"""A process manager in the running system: a booking is reminded of, and operators see the process and act on it."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.e2e.system import System
from tests.integration.program import Program

pytestmark = pytest.mark.timeout(120)

TIDEMARK = Program("processes")
NAME = "appointment-reminders"


def on_grid(time: datetime) -> datetime:
    """The last five minutes' mark before it."""
    return time.replace(minute=time.minute - time.minute % 5, second=0, microsecond=0)


async def booked(system: System, starts_at: datetime) -> str:
    """A confirmed booking."""
    booking = f"b-{uuid4().hex}"
    data = {"booking_id": booking, "patient_id": booking, "doctor_id": booking, "minutes": 5}
    await system.bus.accepted("bookings.request-booking", data | {"starts_at": starts_at.isoformat()})
    await system.bus.accepted("bookings.confirm-booking", {}, subject=booking)
    return booking


async def cli(system: System, *arguments: str, code: int = 0) -> Any:
    return await TIDEMARK.json_of(*arguments, code=code, environ=system.servers.environ())


async def test_a_booking_less_than_a_day_ahead_is_reminded_of_at_once(system: System) -> None:
    booking = await booked(system, on_grid(datetime.now(UTC) + timedelta(hours=23)))
    document = await system.visible(f"/bookings/{booking}", lambda found: found.get("reminded_at"))
    assert document["status"] == "confirmed"
    process = await system.visible(f"/processes/{booking}", lambda found: found["waiting_for"] == ["end"])
    kinds = [given["kind"] for given in reversed(process["history"])]
    assert [kind for kind in kinds if kind != "event"] == ["timer", "outcome"]
    (command,) = process["commands"]
    assert command["type"] == "bookings.request-reminder"
    assert command["outcome"] == {"accepted": True, "stream": f"bookings/{booking}", "version": 3}
    await system.bus.accepted("bookings.complete-booking", {}, subject=booking)
    done = await system.visible(f"/processes/{booking}", lambda found: found["status"] == "done", name=NAME)
    assert (done["result"], done["waiting_for"], done["timers"]) == ("reminded", [], [])


async def test_operators_see_what_a_process_waits_for_and_cancel_it(system: System) -> None:
    starts_at = on_grid(datetime.now(UTC) + timedelta(days=40))
    booking = await booked(system, starts_at)
    await system.visible(f"/processes/{booking}", lambda found: found["timers"])
    shown = await cli(system, "show", NAME, booking)
    (timer,) = shown["timers"]
    assert datetime.fromisoformat(timer["due_at"]) == starts_at - timedelta(days=1)
    listed = await cli(system, "list", "--name", NAME, "--waiting-for", "reminder", "--state", "running")
    assert booking in [one["process_id"] for one in listed["items"]]
    found = await system.get("/processes", name=NAME, state="running", waiting_for="reminder", limit=1)
    assert len(found["items"]) == 1

    answer = await cli(system, "cancel", NAME, booking, "--reason", "patient asked", "--actor", "ann")
    assert (answer["items"][0]["status"], answer["items"][0]["result"]) == ("done", "not reminded")
    refused = await cli(system, "cancel", NAME, booking, "--reason", "again", "--actor", "ann", code=1)
    assert refused["items"][0]["code"] == "process-done"
    audit = await system.visible(
        "/dead-letters/audit", lambda found: any(booking in str(one) for one in found["items"]), projection=NAME
    )
    (entry,) = [one for one in audit["items"] if booking in str(one)]
    assert (entry["act"], entry["actor"], entry["reason"]) == ("cancel", "ann", "patient asked")
    assert entry["details"]["subject"] == booking
    managers = {one["projection"]: one for one in (await system.get("/freshness"))["process_managers"]}
    assert (managers[NAME]["failed"], managers[NAME]["attention"]) == (0, None)
    assert managers[NAME]["as_of"] is not None


async def test_a_process_that_is_not_there_is_not_found_and_a_name_that_is_none_is_refused(system: System) -> None:
    missing = await system.queries.get(f"/processes/{uuid4().hex}")
    assert (missing.status_code, missing.json()["code"]) == (404, "process-not-found")
    unknown = await system.queries.get("/processes", params={"name": "nope"})
    assert unknown.status_code == 400
    refused = await cli(system, "cancel", NAME, uuid4().hex, "--reason", "x", code=1)
    assert refused["items"][0]["code"] == "process-not-found"
    await TIDEMARK.refused(
        "show", "nope", "x", code=2, says="there is no process manager", environ=system.servers.environ()
    )


async def test_processes_are_paged_from_the_latest_on(system: System) -> None:
    starts_at = on_grid(datetime.now(UTC) + timedelta(days=50))
    made = [await booked(system, starts_at + timedelta(minutes=5 * n)) for n in range(3)]
    await system.visible(f"/processes/{made[-1]}", lambda found: found["timers"])
    first = await system.get("/processes", name=NAME, limit=2)
    second = await system.get("/processes", name=NAME, limit=2, cursor=first["next_cursor"])
    ids = [one["process_id"] for one in (*first["items"], *second["items"])]
    assert ids[:3] == made[::-1]
    figures = (await system.get("/processes/figures"))["items"]
    by_name = {one["name"]: one for one in figures}
    assert by_name[NAME]["timers"] >= 3
