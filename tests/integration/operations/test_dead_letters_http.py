"""Dead letters over HTTP: what is shown to whom, and that acts reach the worker and come back."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

from query_service.app import create_app
from query_service.http import operators
from query_service.http.operators import Operators
from query_service.http.requests import Stores
from query_service.stores.operations_store import OperationsStore
from shared.privacy.sealing import is_sealed
from shared.runtime.settings import Settings
from tests.integration.databases import note_kinds
from tests.integration.dead_letters.harness import Harness
from tests.integration.operations.conftest import KEY, client_of

GONE = "postgresql://nobody:x@127.0.0.1:1/none"
ORDER = {
    "order_id": "held-1",
    "customer_id": "c",
    "status": "placed",
    "currency": "USD",
    "item_count": 1,
    "total": 5,
    "lines": [{"product_id": "p", "name": "P", "quantity": 1, "amount": 5}],
    "placed_at": "2026-03-01T09:30:00Z",
    "updated_at": "2026-03-01T09:30:00Z",
    "version": 1,
}


async def test_letters_are_listed_grouped_filtered_and_paged(harness: Harness, reader: httpx.AsyncClient) -> None:
    for number in range(5):
        await harness.die(f"orders/o{number}", message="boom" if number < 3 else "[red]bang[/red]")
    await harness.command_dies("c-1")
    await harness.statuses(dead=6)

    groups = (await reader.get("/dead-letters/groups")).json()
    assert [group["count"] for group in groups["items"]] == [3, 2, 1]
    assert (groups["items"][0]["origin"], groups["items"][0]["waiting"], groups["more"]) == ("summary", 6, False)
    assert (await reader.get("/dead-letters/groups?limit=2")).json()["more"]

    seen: list[int] = []
    cursor = ""
    while True:
        page = (await reader.get(f"/dead-letters?limit=2{cursor}")).json()
        seen += [letter["id"] for letter in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert len(seen) == len(set(seen)) == 6
    assert all("body" not in letter and "headers" not in letter for letter in page["items"])

    async def count(**filters: str) -> int:
        answer = await reader.get("/dead-letters", params=filters)
        assert answer.status_code == 200, answer.text
        return len(answer.json()["items"])

    assert await count(origin="commands") == 1
    assert await count(stream="orders/o1") == 1
    assert await count(type="orders.order-placed") == 5
    assert await count(text="BANG") == 2
    assert await count(fingerprint=groups["items"][0]["fingerprint"]) == 3
    assert await count(failed_from="2026-01-01", failed_to="2199-01-01") == 6
    assert await count(failed_to="2020-01-01") == 0
    assert await count(status="resolved") == 0
    assert await count(status="all") == 6


async def test_a_payload_is_for_operators_only(
    harness: Harness, reader: httpx.AsyncClient, ann: httpx.AsyncClient
) -> None:
    await harness.command_dies("c-2", {"name": "secret-name"})
    await harness.statuses(dead=1)
    stranger = await reader.get("/dead-letters/1")
    assert (stranger.json()["payload"], stranger.json()["payload_hidden"]) == (None, True)
    assert "secret-name" not in stranger.text
    assert "Traceback" not in stranger.text
    letter = (await ann.get("/dead-letters/1")).json()
    body = json.loads(letter["payload"]["body"])
    assert is_sealed(body["data"]["name"])
    assert await harness.opened(body) == {"name": "secret-name"}
    assert letter["payload"]["trace"].startswith("Traceback")
    assert letter["payload"]["headers"]["tidemark-reason"] == "handler-failed"
    assert not letter["payload_hidden"]
    assert len(letter["failures"]) == 1
    wrong = await reader.get("/dead-letters/1", headers={"Authorization": "Bearer wrong"})
    assert (wrong.status_code, wrong.json()["code"]) == (401, "unauthorised")
    assert (await reader.get("/dead-letters/2")).json()["code"] == "letter-not-found"


async def test_a_replay_goes_from_dry_run_to_done(harness: Harness, ann: httpx.AsyncClient) -> None:
    for number in range(3):
        await harness.die(f"orders/o{number}")
    await harness.statuses(dead=3)
    body = {"selection": {"origin": "summary"}, "reason": "fixed", "canary": 1, "ramp": [10, 50]}
    dry = await ann.post("/dead-letters/replay", json=body | {"dry_run": True})
    assert (dry.status_code, dry.json()["count"], dry.json()["dry_run"]) == (200, 3, True)
    assert "job_id" not in dry.json()
    key = {"Idempotency-Key": "once"}
    first = await ann.post("/dead-letters/replay", json=body, headers=key)
    again = await ann.post("/dead-letters/replay", json=body, headers=key)
    assert (first.status_code, first.json()) == (202, again.json())
    assert first.headers["idempotency-key"] == "once"
    other = await ann.post("/dead-letters/replay", json=body | {"canary": 2}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "request-id-reused")

    await harness.job(first.json()["job_id"], "completed")
    job = (await ann.get(first.headers["location"])).json()
    assert (job["state"], job["succeeded"], job["actor"], job["reason"]) == ("completed", 3, "ann", "fixed")
    assert [one["id"] for one in (await ann.get("/dead-letters/jobs")).json()["items"]] == [job["id"]]
    trail = (await ann.get(f"/dead-letters/audit?act=replay&job_id={job['id']}")).json()["items"]
    assert [(one["actor"], one["act"], one["request_id"]) for one in trail] == [("ann", "replay", "once")]
    assert (await ann.get("/dead-letters/audit?actor=bob")).json()["items"] == []
    nothing = await ann.post("/dead-letters/replay", json=body)
    assert (nothing.status_code, nothing.json()["code"]) == (409, "nothing-selected")
    for verb, code in (("pause", 409), ("resume", 409), ("cancel", 409)):
        assert (await ann.post(f"/dead-letters/jobs/{job['id']}/{verb}")).status_code == code
    assert (await ann.post("/dead-letters/jobs/99/pause")).json()["code"] == "job-not-found"


async def test_a_job_is_paused_resumed_and_cancelled(harness: Harness, ann: httpx.AsyncClient) -> None:
    for number in range(20):
        await harness.die(f"orders/o{number}")
    await harness.statuses(dead=20)
    body = {"selection": {"everything": True}, "rate": 1}
    job = (await ann.post("/dead-letters/replay", json=body)).json()["job_id"]
    for verb, state in (("pause", "paused"), ("resume", "pending"), ("cancel", "cancelled")):
        answer = await ann.post(f"/dead-letters/jobs/{job}/{verb}", json={"reason": "to see"})
        assert (answer.status_code, answer.json()["state"]) == (200, state), answer.text
    assert (await ann.get(f"/dead-letters/jobs/{job}")).json()["state"] == "cancelled"


async def test_discarding_and_editing_leave_their_trace(harness: Harness, ann: httpx.AsyncClient) -> None:
    await harness.die("orders/o1")
    await harness.command_dies("c-3", {"name": 5})
    await harness.statuses(dead=2)
    ids = {letter["origin"]: letter["id"] for letter in (await ann.get("/dead-letters")).json()["items"]}
    gone = {"selection": {"letter_ids": [ids["summary"]]}, "reason": "a test order"}
    assert (await ann.post("/dead-letters/discard", json=gone)).status_code == 202
    await harness.statuses(discarded=1)
    edited = {"letter_id": ids["commands"], "data": {"name": 5}, "reason": "the name was no text"}
    refused = await ann.post("/dead-letters/edit", json=edited)
    assert (refused.status_code, refused.json()["code"]) == (422, "validation-failed")
    assert refused.json()["errors"][0]["field"] == "name"
    done = await ann.post("/dead-letters/edit", json=edited | {"data": {"name": "Ann"}, "command_id": "c-4"})
    assert (done.status_code, done.json()["command_id"]) == (202, "c-4")
    letter = (await ann.get(f"/dead-letters/{ids['commands']}")).json()
    assert (letter["status"], letter["replaced_by"]) == ("superseded", "c-4")
    assert [command["command_id"] for command in letter["edited"]] == ["c-4"]
    event = edited | {"letter_id": ids["summary"]}
    assert (await ann.post("/dead-letters/edit", json=event)).json()["code"] == "not-a-command"


async def test_an_edited_command_is_one_that_its_editor_may_send(
    harness: Harness, nobody: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    await harness.command_dies("c-3", {"name": 5})
    await harness.statuses(dead=1)
    edit = {"data": {"name": "Ann"}, "reason": "the name was no text", "command_id": "c-4"}
    price: dict[str, Any] = {"type": "catalog.change-price", "subject": "p-1", "data": {"price": 1}}
    refused: dict[tuple[str, ...], list[dict[str, Any]]] = {
        (): [{}, price],
        ("commands:catalog.*",): [{}],
        ("commands:customers.rename-customer",): [price],
    }
    for number, (scopes, changes) in enumerate(refused.items()):
        rights = ("dead-letters:read", "dead-letters:edit", *scopes)
        async with client_of(nobody, db, f"editor-{number}", *rights) as editor:
            [letter] = (await editor.get("/dead-letters")).json()["items"]
            for change in changes:
                answer = await editor.post("/dead-letters/edit", json={"letter_id": letter["id"], **edit, **change})
                assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), answer.text
            claimed = {"letter_id": letter["id"], **edit, "may": ["*"]}
            assert (await editor.post("/dead-letters/edit", json=claimed)).status_code == 422
    async with client_of(nobody, db, "last", "dead-letters:edit", "commands:customers.rename-customer") as editor:
        done = await editor.post("/dead-letters/edit", json={"letter_id": letter["id"], **edit})
        assert (done.status_code, done.json()["command_id"]) == (202, "c-4"), done.text


@pytest.mark.parametrize("path", ["replay", "discard", "edit", "jobs/1/pause", "jobs/1/resume", "jobs/1/cancel"])
async def test_nobody_acts_without_the_scope(
    nobody: httpx.AsyncClient, reader: httpx.AsyncClient, ann: httpx.AsyncClient, path: str
) -> None:
    for headers in ({}, {"Authorization": "Bearer no"}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer"}):
        answer = await nobody.post(f"/dead-letters/{path}", headers=headers, content=b"\xff")
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorised")
        assert answer.headers["www-authenticate"].startswith("Bearer")
    answer = await reader.post(f"/dead-letters/{path}", content=b"\xff")
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    verb = path if path in ("replay", "discard", "edit") else "replay"
    assert answer.json()["scopes"] == [f"dead-letters:{verb}"]
    for person in ("", " ", "x" * 201):
        answer = await ann.post(f"/dead-letters/{path}", headers={"Tidemark-Actor": person}, json={})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid-parameter")


async def test_the_actor_is_the_credentials_subject_and_the_header_only_what_it_claims(
    harness: Harness, nobody: httpx.AsyncClient, ann: httpx.AsyncClient
) -> None:
    for number in range(3):
        await harness.die(f"orders/o{number}")
    await harness.statuses(dead=3)
    ids = [letter["id"] for letter in (await ann.get("/dead-letters")).json()["items"]]
    claimed = {"Tidemark-Actor": "the queen"}
    gone = {"selection": {"letter_ids": ids[:1]}, "reason": "gone"}
    assert (await ann.post("/dead-letters/discard", json=gone, headers=claimed)).status_code == 202
    replayed = {"selection": {"letter_ids": ids[1:2]}}
    operator = claimed | {"Authorization": f"Bearer {KEY}"}
    job = (await nobody.post("/dead-letters/replay", json=replayed, headers=operator)).json()["job_id"]
    await harness.job(job, "completed")
    assert (await ann.post("/dead-letters/discard", json=gone | {"selection": {"letter_ids": ids[2:]}})).is_success
    items = (await ann.get("/dead-letters/audit")).json()["items"]
    assert [
        (one["act"], one["actor"], one["details"].get("behind")) for one in items if one["act"] in ("discard", "replay")
    ] == [("discard", "ann", None), ("replay", "operator", "the queen"), ("discard", "ann", "the queen")]


async def test_a_request_that_nobody_answers_is_kept_and_done_once(
    idle: Harness, ann: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await idle.die("orders/o1")
    monkeypatch.setattr(operators, "ANSWER_TIMEOUT_S", 1.0)
    key = {"Idempotency-Key": f"kept {uuid4()}"}
    body = {"selection": {"everything": True}, "reason": "gone"}
    silence = await ann.post("/dead-letters/discard", json=body, headers=key)
    assert (silence.status_code, silence.json()["code"]) == (504, "no-answer")
    assert silence.headers["idempotency-key"] == key["Idempotency-Key"]
    monkeypatch.undo()
    await idle.play()
    await idle.start()
    await idle.statuses(count=1)
    answer = await ann.post("/dead-letters/discard", json=body, headers=key)
    # The worker may have met the request before the letter: then there was nothing to discard, and now there is.
    assert (answer.status_code, answer.json()["count"]) == (202, 1), answer.text
    await idle.statuses(discarded=1)


async def without_operations(stores: Stores) -> Stores:
    summary, search = await stores.postgres("summary").store(), await stores.postgres("search").store()
    return Stores(summary, search, await stores.redis("analytics").store(), operations=OperationsStore(GONE))


async def test_away_is_said_by_the_routes_concerned_alone(
    stores: Stores, ann: httpx.AsyncClient, migrated: Settings
) -> None:
    for name in ("summary", "search"):
        await note_kinds(name, migrated.store_url(name))
    away = await without_operations(stores)
    app = create_app(away, Operators("amqp://nobody:x@127.0.0.1:1/"))
    headers = {"Tidemark-Actor": "ann"}
    transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://query", headers=headers) as client:
        for path in ("", "/groups", "/1", "/jobs", "/jobs/1", "/audit"):
            answer = await client.get(f"/dead-letters{path}")
            assert (answer.status_code, answer.json()["code"]) == (503, "store-unavailable")
        answer = await client.post("/dead-letters/jobs/1/pause")  # whether acts are forbidden cannot be read
        assert (answer.status_code, answer.json()["code"]) == (503, "store-unavailable")
        assert (await client.get("/orders")).status_code == 200
        assert (await client.get("/health/ready")).status_code == 200
    await away.operations.close()


async def test_a_held_order_names_its_letter_while_that_can_be_known(
    harness: Harness, stores: Stores, reader: httpx.AsyncClient, migrated: Settings
) -> None:
    await harness.die("orders/held-1", 2)
    await harness.die("orders/held-2", 1)
    await harness.statuses(dead=2)
    ids = {letter["stream"]: letter["id"] for letter in (await reader.get("/dead-letters")).json()["items"]}
    summary = await asyncpg.connect(migrated.store_url("summary"), server_settings={"search_path": "summary, public"})
    try:
        await summary.execute("DELETE FROM orders WHERE order_id = 'held-1'")
        await summary.execute("DELETE FROM held WHERE stream LIKE 'orders/held-%'")
        await summary.execute(
            "INSERT INTO orders VALUES ('held-1', 'c', 'placed', 'USD', 1, 5, now(), now(), 1, $1)", json.dumps(ORDER)
        )
        for stream, version in (("orders/held-1", 2), ("orders/held-2", 1)):
            await summary.execute(
                "INSERT INTO held VALUES ($1, 'dead', $2, 9, 4, 'projection-failed', 'boom', 'f', now(), now(), NULL)",
                stream,
                version,
            )
        held = (await reader.get("/orders/held-1")).json()["held"]
        assert (held["status"], held["version"], held["letter_id"]) == ("dead", 2, ids["orders/held-1"])
        letter = (await reader.get(held["letter"])).json()
        assert (letter["stream"], letter["waiting"]) == ("orders/held-1", 7)
        missing = await reader.get("/orders/held-2")
        assert (missing.status_code, f"/dead-letters/{ids['orders/held-2']}" in missing.json()["detail"]) == (404, True)

        away = await without_operations(stores)
        transport = httpx.ASGITransport(app=create_app(away))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://query") as client:
            without = (await client.get("/orders/held-1")).json()["held"]
        assert (without["status"], "letter_id" in without) == ("dead", False)
        await away.operations.close()
    finally:
        await summary.execute("DELETE FROM orders WHERE order_id = 'held-1'")
        await summary.execute("DELETE FROM held WHERE stream LIKE 'orders/held-%'")
        await asyncio.wait_for(summary.close(), 5)
