"""A command with ``notbefore`` is kept until then, decided once, and can be cancelled or given another time until it is decided."""

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

from shared.messaging import topology
from tests.e2e.bus import encode, envelope
from tests.e2e.system import System
from tests.integration.program import Program

pytestmark = pytest.mark.timeout(120)

RENAME, REGISTER = "customers.rename-customer", "customers.register-customer"


def at(**ahead: float) -> str:
    return (datetime.now(UTC) + timedelta(**ahead)).isoformat()


async def decided(system: System, id_: str, source: str = "tests") -> dict[str, Any]:
    """Its outcome, as soon as there is one."""
    async with asyncio.timeout(20):
        while True:
            answer = await system.commands.get(f"/commands/{id_}", params={"source": source})
            if answer.status_code == 200:
                found: dict[str, Any] = answer.json()
                return found
            await asyncio.sleep(0.02)


async def waiting(system: System, **parameters: Any) -> list[dict[str, Any]]:
    answer = await system.commands.get("/scheduled-commands", params=parameters)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def left(system: System, id_: str) -> int:
    connection = await asyncpg.connect(system.servers.write_db_url)
    try:
        count: int = await connection.fetchval("SELECT count(*) FROM scheduled_commands WHERE command_id = $1", id_)
        return count
    finally:
        await connection.close()


def registration(customer: str, id_: str, notbefore: str, name: str = "Ann") -> bytes:
    return encode(envelope(REGISTER, {"customer_id": customer, "name": name}, id_=id_, notbefore=notbefore))


async def test_it_is_kept_until_its_time_and_its_sender_gets_the_outcome_then(system: System) -> None:
    customer, id_, due = uuid4().hex, uuid4().hex, datetime.now(UTC) + timedelta(seconds=1.5)
    notice = json.loads(await system.bus.ask(registration(customer, id_, due.isoformat()), routing_key=REGISTER))
    assert (notice["type"], notice["data"]["reason"]) == ("command.pending", "scheduled")
    assert datetime.fromisoformat(notice["data"]["notbefore"]) == due
    pending = await system.commands.get(f"/commands/{id_}")
    assert (pending.status_code, pending.json()["reason"]) == (202, "scheduled")
    assert datetime.fromisoformat(pending.json()["notbefore"]) == due
    assert (await system.queries.get(f"/customers/{customer}")).status_code == 404
    outcome = await decided(system, id_)
    assert (outcome["type"], outcome["data"]["stream"]) == ("command.accepted", f"customers/{customer}")
    assert due <= datetime.fromisoformat(outcome["time"]) < due + timedelta(seconds=10)
    assert await left(system, id_) == 0


async def test_commands_are_decided_in_the_order_of_their_times_not_of_their_arrival(system: System) -> None:
    customer, ids = uuid4().hex, [uuid4().hex for _ in range(3)]
    await system.bus.accepted(REGISTER, {"customer_id": customer, "name": "Ann"})
    start = datetime.now(UTC) + timedelta(seconds=1)
    for id_, name, after in zip(ids, ("third", "first", "second"), (0.3, 0.1, 0.2), strict=True):
        due = (start + timedelta(seconds=after)).isoformat()
        command = envelope(RENAME, {"name": name}, id_=id_, subject=customer, notbefore=due)
        await system.bus.ask(encode(command), routing_key=RENAME)
    outcomes = [await decided(system, id_) for id_ in ids]
    assert [each["data"]["version"] for each in outcomes] == [4, 2, 3]


async def test_its_key_belongs_to_it_and_the_same_command_again_changes_its_time(system: System) -> None:
    customer, id_ = uuid4().hex, uuid4().hex
    first = await system.bus.ask(registration(customer, id_, at(hours=1)), routing_key=REGISTER)
    assert json.loads(first)["data"]["reason"] == "scheduled"
    other = json.loads(await system.bus.ask(registration(customer, id_, at(hours=1), "Bea"), routing_key=REGISTER))
    assert other["data"]["code"] == "idempotency-key-reused"
    later = at(hours=2)
    await system.bus.ask(registration(customer, id_, later), routing_key=REGISTER)
    [found] = [one for one in await waiting(system, source="tests") if one["command_id"] == id_]
    assert datetime.fromisoformat(found["notbefore"]) == datetime.fromisoformat(later)
    assert (found["command_type"], found["source"]) == (REGISTER, "tests")
    now = json.loads(
        await system.bus.ask(
            encode(envelope(REGISTER, {"customer_id": customer, "name": "Ann"}, id_=id_)), routing_key=REGISTER
        )
    )
    assert now["type"] == "command.accepted"
    assert await left(system, id_) == 0


async def test_what_is_invalid_is_refused_at_once_whatever_its_time(system: System) -> None:
    refused = json.loads(
        await system.bus.ask(encode(envelope(REGISTER, {"name": 7}, notbefore=at(hours=1))), routing_key=REGISTER)
    )
    assert (refused["type"], refused["data"]["code"]) == ("command.rejected", "validation-failed")
    answer = await system.commands.post(
        f"/commands/{REGISTER}", json={"customer_id": "x", "name": "Ann"}, params={"notbefore": "tomorrow"}
    )
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "notbefore")


async def scheduled_over_http(system: System, customer: str, id_: str, notbefore: str) -> httpx.Response:
    return await system.commands.post(
        f"/commands/{REGISTER}",
        params={"notbefore": notbefore},
        json={"customer_id": customer, "name": "Ann"},
        headers={"Idempotency-Key": id_, "Prefer": "wait=10"},
    )


async def test_over_http_it_is_scheduled_looked_at_moved_and_cancelled(system: System) -> None:
    customer, id_ = uuid4().hex, uuid4().hex
    answer = await scheduled_over_http(system, customer, id_, at(hours=1))
    assert (answer.status_code, answer.json()["reason"]) == (202, "scheduled")
    path, later = f"/scheduled-commands/{id_}", at(hours=3)
    assert (await system.commands.get(path)).json()["source"] == "tidemark/http"
    other = await scheduled_over_http(system, customer + "x", id_, at(hours=1))
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
    moved = await system.commands.patch(path, json={"notbefore": later})
    assert moved.status_code == 200, moved.text
    assert datetime.fromisoformat(moved.json()["notbefore"]) == datetime.fromisoformat(later)
    ada = {"Tidemark-Actor": "ada"}
    nobody = await system.commands.delete(path, params={"reason": "not needed"})
    assert (nobody.status_code, nobody.json()["errors"][0]["field"]) == (400, "Tidemark-Actor")
    cancelled = await system.commands.delete(path, params={"reason": "not needed"}, headers=ada)
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    outcome = await decided(system, id_, "tidemark/http")
    assert outcome["data"]["code"] == "cancelled"
    assert "ada: not needed" in outcome["data"]["message"]
    assert (await system.commands.get(path)).status_code == 404
    assert (await system.commands.delete(path, params={"reason": "again"}, headers=ada)).status_code == 404
    again = await scheduled_over_http(system, customer, id_, at(hours=1))
    assert (again.status_code, again.json()["code"]) == (409, "cancelled")
    assert await audited(system, id_, 2) == [
        ("anonymous", "reschedule-scheduled", ""),
        ("ada", "cancel-scheduled", "not needed"),
    ]


async def audited(system: System, id_: str, acts: int) -> list[tuple[str, str, str]]:
    """(actor, act, reason) of what operators have asked for about this command, as soon as that is in the audit."""

    def of_it(found: dict[str, Any]) -> list[dict[str, Any]]:
        return [one for one in found["items"] if one["details"].get("subject") == id_]

    found = await system.visible("/audit", lambda found: len(of_it(found)) >= acts, projection="commands")
    return [(one["actor"], one["act"], one["reason"]) for one in reversed(of_it(found))]


@pytest.mark.parametrize(
    ("method", "path", "more", "status"),
    [
        ("GET", "/scheduled-commands", {"params": {"cursor": "???"}}, 400),
        ("GET", "/scheduled-commands", {"params": {"limit": 0}}, 400),
        ("PATCH", "/scheduled-commands/{id}", {"json": {"notbefore": "soon"}}, 422),
        ("PATCH", "/scheduled-commands/{id}", {"json": {}}, 422),
        ("PATCH", "/scheduled-commands/{id}?notBefore=x", {"json": {"notbefore": "2199-01-01T00:00:00Z"}}, 400),
        ("DELETE", "/scheduled-commands/{id}", {}, 400),
        (
            "POST",
            "/commands/customers.rename-customer?subject=c&not-before=2199-01-01T00:00:00Z",
            {"json": {"name": "x"}},
            400,
        ),
        ("POST", "/commands/customers.rename-customer?subject=c&subject=d", {"json": {"name": "x"}}, 400),
    ],
)
async def test_bad_requests_are_problems(
    system: System, method: str, path: str, more: Mapping[str, Any], status: int
) -> None:
    id_ = uuid4().hex
    await scheduled_over_http(system, uuid4().hex, id_, at(hours=1))
    answer = await system.commands.request(method, path.format(id=id_), **more)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text


async def test_a_time_that_has_passed_has_it_decided_at_once(system: System) -> None:
    id_ = uuid4().hex
    await scheduled_over_http(system, uuid4().hex, id_, at(hours=1))
    decided_now = await system.commands.patch(f"/scheduled-commands/{id_}", json={"notbefore": at(hours=-1)})
    assert (decided_now.status_code, decided_now.json()["type"]) == (200, "command.accepted")


async def test_the_list_is_paged_by_time(system: System) -> None:
    source, times = f"pages-{uuid4().hex}", [at(hours=hour) for hour in (4, 2, 3, 1, 5)]
    for time in times:
        command = envelope(REGISTER, {"customer_id": uuid4().hex, "name": "A"}, notbefore=time) | {"source": source}
        await system.bus.ask(encode(command), routing_key=REGISTER)
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        parameters: dict[str, Any] = {"source": source, "limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await system.commands.get("/scheduled-commands", params=parameters)).json()
        seen += [one["notbefore"] for one in page["items"]]
        cursor = page["next_cursor"]
    assert list(map(datetime.fromisoformat, seen)) == sorted(map(datetime.fromisoformat, times))


async def test_the_command_line_schedules_lists_moves_and_cancels(system: System) -> None:
    id_, environ = uuid4().hex, system.servers.environ()
    data = json.dumps({"customer_id": uuid4().hex, "name": "Ann"})
    sent = await Program("send").run(REGISTER, data, "--id", id_, "--not-before", at(hours=1), environ=environ)
    assert (sent.exit_code, json.loads(sent.stdout)["data"]["reason"]) == (0, "scheduled"), sent.output
    listed = await Program("scheduled").run("list", "--source", "tidemark/cli", "--output", "json", environ=environ)
    assert id_ in [one["command_id"] for one in json.loads(listed.stdout)["items"]]
    why = ("--reason", "a holiday", "--actor", "bob")
    moved = await Program("scheduled").run("reschedule", id_, at(hours=2), *why, environ=environ)
    assert (moved.exit_code, "is due at" in moved.stdout) == (0, True), moved.output
    cancelled = await Program("scheduled").run("cancel", id_, "--reason", "no need", "--actor", "ada", environ=environ)
    assert (cancelled.exit_code, cancelled.stdout.strip()) == (0, f"{id_} is cancelled"), cancelled.output
    again = await Program("scheduled").run("cancel", id_, "--reason", "no need", environ=environ)
    assert again.exit_code == 1
    assert await audited(system, id_, 2) == [
        ("bob", "reschedule-scheduled", "a holiday"),
        ("ada", "cancel-scheduled", "no need"),
    ]
    verified = await Program("audit").json_of("verify", environ=environ)
    assert verified["intact"], verified


async def test_a_scheduled_command_that_is_put_into_the_queue_twice_is_decided_once(system: System) -> None:
    customer, id_ = uuid4().hex, uuid4().hex
    await system.bus.ask(registration(customer, id_, at(hours=1)), routing_key=REGISTER)
    command = registration(customer, id_, at(hours=1))
    due = {topology.SCHEDULED_HEADER: topology.DUE}
    answers = [json.loads(await system.bus.ask(command, routing_key=REGISTER, headers=due)) for _ in range(2)]
    assert answers[0] == answers[1]
    assert (answers[0]["type"], answers[0]["data"]["version"]) == ("command.accepted", 1)
    assert await left(system, id_) == 0
