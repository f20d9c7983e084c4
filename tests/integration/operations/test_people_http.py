"""Who one is over HTTP, and the switch that forbids operators' acts."""

import httpx

from shared.http.identities.scopes import OPERATOR, ROLES
from tests.integration.dead_letters.harness import Harness
from tests.integration.operations.conftest import client_of

REPLAY = {"selection": {"everything": True}, "reason": "fixed"}


async def test_one_learns_who_one_is_and_what_one_may_do(
    nobody: httpx.AsyncClient, ann: httpx.AsyncClient, db: object
) -> None:
    me = (await ann.get("/me")).json()
    assert (me["subject"], me["anonymous"], me["role"]) == ("ann", False, "approver")
    assert set(me["scopes"]) == OPERATOR
    assert me["expires_at"] is not None
    assert me["read_only"] == {"on": False, "since": None, "by": None, "reason": None} | me["read_only"]
    assert (await nobody.get("/me")).status_code == 401
    async with client_of(nobody, db, "vera", *ROLES["viewer"].scopes) as viewer:  # type: ignore[arg-type]
        assert (await viewer.get("/me")).json()["role"] == "viewer"
        refused = await viewer.post("/dead-letters/replay", json=REPLAY)
        assert (refused.status_code, refused.json()["scopes"]) == (403, ["dead-letters:replay"])
    names = [role["name"] for role in (await ann.get("/roles")).json()["items"]]
    assert names == ["viewer", "operator", "approver", "admin"]


async def test_acts_that_are_forbidden_say_so_and_change_nothing(
    nobody: httpx.AsyncClient, ann: httpx.AsyncClient, harness: Harness
) -> None:
    await harness.die("orders/o-1")
    await harness.statuses(dead=1)
    assert (await ann.post("/read-only/on", json={"reason": "no"})).status_code == 403
    async with client_of(nobody, harness.db, "root", "*") as admin:
        assert (await admin.post("/read-only/on", json={})).status_code == 422
        assert (await admin.post("/read-only/on", json={"reason": "moving house"})).status_code == 200
        for path, body in (
            ("/dead-letters/replay", REPLAY),
            ("/projections/summary/rebuild", {"reason": "fixed"}),
            ("/projections/summary/rollback", {"reason": "fixed"}),
            ("/checks/verify", {"reason": "to be sure"}),
        ):
            refused = await ann.post(path, json=body)
            assert (refused.status_code, refused.json()["code"]) == (423, "read-only"), path
            assert "by root: moving house" in refused.json()["detail"]
        assert (await ann.get("/me")).json()["read_only"]["on"]
        preview = await ann.post("/dead-letters/replay", json=REPLAY | {"dry_run": True})
        assert preview.status_code == 200
        assert await harness.db.fetchval("SELECT count(*) FROM jobs") == 0
        assert (await admin.post("/read-only/off", json={"reason": "moved"})).status_code == 200
    assert (await ann.post("/dead-letters/replay", json=REPLAY)).status_code == 202
    entries = (await ann.get("/audit", params={"actor": "root"})).json()["items"]
    assert [(one["act"], one["reason"]) for one in entries] == [
        ("allow-acts", "moved"),
        ("forbid-acts", "moving house"),
    ]
