"""What operators say of a cause of dead letters, and commands as forms need them: described, and validated without being sent."""

from datetime import UTC, datetime, timedelta

import httpx

from tests.integration.dead_letters.harness import Harness


async def test_a_cause_has_an_owner_a_note_and_may_be_snoozed(
    ann: httpx.AsyncClient, reader: httpx.AsyncClient, harness: Harness
) -> None:
    for number in range(3):
        await harness.die(f"orders/o{number}")
    await harness.statuses(dead=3)
    [group] = (await ann.get("/dead-letters/groups")).json()["items"]
    assert group["history"] == [*([0] * 23), 3]
    assert (group["owner"], group["snoozed_until"]) == (None, None)
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    cause = {"origin": group["origin"], "fingerprint": group["fingerprint"]}
    said = {"owner": "team shop", "note": "<b>wait</b>", "bug": "https://bugs.example.org/7", "snoozed_until": until}
    done = await ann.post("/dead-letters/groups/annotate", json={**cause, **said, "reason": "known"})
    assert done.status_code == 200, done.text
    [group] = (await reader.get("/dead-letters/groups")).json()["items"]
    assert (group["owner"], group["note"], group["bug"]) == ("team shop", "<b>wait</b>", "https://bugs.example.org/7")
    sees = {each["see"] for each in (await ann.get("/status")).json()["findings"]}
    assert f"/dead-letters/{group['example']}" not in sees, "it is snoozed"
    cleared = await ann.post("/dead-letters/groups/annotate", json={**cause, "owner": "ann", "reason": "mine"})
    assert cleared.status_code == 200
    [group] = (await ann.get("/dead-letters/groups")).json()["items"]
    assert (group["owner"], group["note"], group["bug"], group["snoozed_until"]) == ("ann", None, None, None)
    sees = {each["see"] for each in (await ann.get("/status")).json()["findings"]}
    assert f"/dead-letters/{group['example']}" in sees
    for body, status in (
        ({**cause, "fingerprint": "unknown", "reason": "x"}, 404),
        ({**cause, "bug": "javascript:alert(1)", "reason": "x"}, 422),
        (cause, 422),
    ):
        assert (await ann.post("/dead-letters/groups/annotate", json=body)).status_code == status
    assert (await reader.post("/dead-letters/groups/annotate", json={**cause, "reason": "x"})).status_code == 403


async def test_the_letters_of_a_job_are_its_frozen_selection(ann: httpx.AsyncClient, harness: Harness) -> None:
    harness.broken.add(("orders/o1", 1))
    for number in range(2):
        await harness.die(f"orders/o{number}")
    await harness.statuses(dead=2)
    asked = await ann.post("/dead-letters/replay", json={"selection": {"everything": True}, "reason": "fixed"})
    job = asked.json()["job_id"]
    letters = (await ann.get(f"/dead-letters/jobs/{job}/letters")).json()["items"]
    assert [one["ord"] for one in letters] == [1, 2]
    page = (await ann.get(f"/dead-letters/jobs/{job}/letters?limit=1")).json()
    rest = (await ann.get(f"/dead-letters/jobs/{job}/letters?limit=1&cursor={page['next_cursor']}")).json()
    assert [page["items"][0]["letter_id"], rest["items"][0]["letter_id"]] == [one["letter_id"] for one in letters]
    assert (await ann.get("/dead-letters/jobs/99/letters")).status_code == 404


async def test_data_are_validated_as_one_types_and_nothing_is_sent(reader: httpx.AsyncClient, harness: Harness) -> None:
    types = {one["type"]: one for one in (await reader.get("/command-types")).json()["items"]}
    assert (types["orders.place-order"]["scope"], types["orders.place-order"]["allowed"]) == (
        "commands:orders.place-order",
        False,
    )
    schema = (await reader.get("/command-types/orders.pay-order")).json()["data_schema"]
    assert schema["properties"]["amount"]["type"] == "integer"
    good = await reader.post("/command-types/orders.pay-order/validate", json={"amount": 5})
    assert (good.status_code, good.json()) == (200, {"valid": True})
    bad = await reader.post("/command-types/orders.place-order/validate", json={"order_id": "o", "lines": [{}]})
    assert bad.status_code == 422
    fields = {error["field"] for error in bad.json()["errors"]}
    assert {"customer_id", "currency"} <= fields
    assert any(field.startswith("lines") for field in fields)
    reading = {"readings": [{"metric": "t", "at": "2026-03-01T00:00:00Z", "value": 21.57}]}
    exact = await reader.post("/command-types/devices.record-telemetry/validate", json=reading)
    assert exact.status_code == 200, exact.text
    assert (await reader.get("/command-types/orders.buy")).status_code == 404
    assert harness.commands == []
