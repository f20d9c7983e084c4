"""An administrator's work on a user, over HTTP and over the bus, from the command to the audit."""

from typing import Any

import pytest

from tests.e2e.system import System

pytestmark = pytest.mark.timeout(60)

ANN = {"user_id": "ann", "name": "Ann", "email": "Ann@Example.org", "role": "clerk"}


async def over_http(system: System, command: str, data: dict[str, Any], subject: str, actor: str) -> Any:
    return await system.commands.post(
        f"/commands/accounts.{command}",
        json=data,
        params={"subject": subject},
        headers={"Prefer": "wait=10", "Tidemark-Actor": actor},
    )


async def test_who_did_what_to_a_user_is_known_from_the_command_to_the_audit_and_at_any_time(system: System) -> None:
    created = await over_http(system, "create-user", ANN, "ann", "chief@example.org")
    assert created.status_code == 200, created.text
    await system.bus.accepted(
        "accounts.change-role", {"role": "admin"}, id_="ann-role", subject="ann", actor="Zoë (HR)"
    )
    await system.bus.accepted("accounts.change-role", {"role": "admin"}, id_="ann-role-again", subject="ann")
    await system.bus.accepted("accounts.deactivate-user", {"reason": "left"}, id_="ann-left", subject="ann")

    own_write = {"Tidemark-Consistency": "users/ann@3", "Prefer": "wait=10"}
    user = (await system.queries.get("/users/ann", headers=own_write)).json()
    assert (user["email"], user["role"], user["active"], user["deactivation_reason"]) == (
        *("Ann@Example.org", "admin", False),
        "left",
    )
    entries = (await system.get("/users/ann/audit"))["items"]
    assert [(entry["version"], entry["actor"], entry["before"], entry["after"]) for entry in entries[1:]] == [
        (2, "Zoë (HR)", {"role": "clerk"}, {"role": "admin"}),
        (
            3,
            None,
            {"active": True, "deactivation_reason": None},
            {"active": False, "deactivation_reason": "left"},
        ),
    ]
    assert (entries[0]["actor"], entries[0]["after"]["email"]) == ("chief@example.org", "Ann@Example.org")
    then = await system.get("/users/ann/at", time=entries[1]["at"])
    assert (then["role"], then["active"], then["version"]) == ("admin", True, 2)


async def test_an_address_belongs_to_one_user_also_while_they_are_deactivated(system: System) -> None:
    bob = {"user_id": "bob", "name": "Bob", "email": "bob@example.org", "role": "clerk"}
    assert (await over_http(system, "create-user", bob, "bob", "chief")).status_code == 200
    assert (await over_http(system, "deactivate-user", {"reason": "left"}, "bob", "chief")).status_code == 200
    rob = bob | {"user_id": "rob", "email": "BOB@example.org"}
    refused = await over_http(system, "create-user", rob, "rob", "chief")
    assert (refused.status_code, refused.json()["code"]) == (409, "user-email-taken")
    freed = await over_http(system, "change-email", {"email": "former-bob@example.org"}, "bob", "chief")
    assert freed.status_code == 200
    assert (await over_http(system, "create-user", rob, "rob", "chief")).status_code == 200


async def test_an_actor_that_is_none_is_refused(system: System) -> None:
    refused = await over_http(system, "create-user", ANN, "ann", "x" * 201)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "actor")
