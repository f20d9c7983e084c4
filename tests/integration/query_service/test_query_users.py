"""Users, written by the projector's own store, as an administrator asks for them."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest

from projectors.models.summary.store import SummaryStore
from projectors.stores.port import Advance, Commit
from query_service.routes.accounts import users as routes
from shared.contracts.values import EventData
from shared.views.accounts import UserView
from tests import users
from tests.integration.query_service.test_query_orders import pages
from tests.shop import NOON, run

pytestmark = pytest.mark.usefixtures("shop")

CHIEF = "chief@example.org"


def events_of(user_id: str, *facts: EventData, actor: str | None = CHIEF) -> Advance:
    """One event an hour, from NOON on: the business time of each, too."""
    advance = run(f"users/{user_id}", *facts)
    timed = []
    for hours, event in enumerate(advance.events):
        at = {name: NOON + timedelta(hours=hours) for name in event.data.__struct_fields__ if name.endswith("_at")}
        timed.append(msgspec.structs.replace(event, data=msgspec.structs.replace(event.data, **at), actor=actor))
    return msgspec.structs.replace(advance, events=timed)


@pytest.fixture(scope="module")
async def _users(query_urls: tuple[str, str]) -> None:
    """Sixty users; the first ten have a life of their own."""
    store = SummaryStore(query_urls[0])
    life: list[Callable[[str], EventData]]
    life = [users.renamed, users.new_email, users.new_role, users.deactivated, users.reactivated]
    advances = []
    for number in range(60):
        id_ = f"u{number:02}"
        facts = [
            users.created(id_, role="admin" if number % 3 else "clerk"),
            *(make(id_) for make in life[: number % 6]),
        ]
        advances.append(events_of(id_, *facts, actor=CHIEF if number % 2 else None))
    await store.commit(Commit(advances=advances))
    await store.close()


@pytest.mark.usefixtures("_users")
async def test_one_user_is_what_the_events_say(client: httpx.AsyncClient) -> None:
    answer = await client.get("/users/u05")
    assert answer.headers["etag"].startswith('"6-')
    user = UserView.model_validate_json(answer.content)
    assert (user.name, user.email, user.role) == ("Bea", "bea@example.org", "admin")
    assert (user.active, user.deactivation_reason, user.version) == (True, None, 6)
    assert (user.created_at, user.updated_at) == (NOON, NOON + timedelta(hours=5))


@pytest.mark.usefixtures("_users")
@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({}, lambda role, active: True),
        ({"role": "clerk"}, lambda role, active: role == "clerk"),
        ({"active": "false"}, lambda role, active: not active),
        ({"active": "true"}, lambda role, active: active),
        ({"role": "admin", "active": "true"}, lambda role, active: role == "admin" and active),
        ({"role": "nobody"}, lambda role, active: False),
    ],
)
async def test_users_are_found_by_role_and_by_whether_they_are_active(
    client: httpx.AsyncClient, filters: dict[str, str], wanted: Any
) -> None:
    expected = []
    for number in range(60):
        role = "admin" if number % 3 or number % 6 >= 3 else "clerk"
        if wanted(role, number % 6 != 4):
            expected.append(f"u{number:02}")
    found = await pages(client, "/users", limit=7, **filters)
    assert [user["user_id"] for user in found] == expected


@pytest.mark.usefixtures("_users")
async def test_the_audit_says_who_did_what_when_before_and_after(client: httpx.AsyncClient) -> None:
    entries = await pages(client, "/users/u05/audit", limit=4)
    assert [entry["version"] for entry in entries] == [1, 2, 3, 4, 5, 6]
    assert entries[3] == {
        "version": 4,
        "type": "accounts.role-changed",
        "at": "2026-03-31T15:00:00Z",
        "actor": CHIEF,
        "before": {"role": "clerk"},
        "after": {"role": "admin"},
    }
    assert (await pages(client, "/users/u00/audit", limit=4))[0]["actor"] is None


@pytest.mark.usefixtures("_users")
@pytest.mark.parametrize(
    ("time", "version", "name", "active"),
    [
        ("2026-03-31T12:00:00Z", 1, "Ann", True),
        ("2026-03-31T12:59:59.999999Z", 1, "Ann", True),
        ("2026-03-31T13:00:00Z", 2, "Bea", True),
        ("2026-03-31T16:30:00Z", 5, "Bea", False),
        ("2199-12-31", 6, "Bea", True),
    ],
)
@pytest.mark.parametrize("page", [1, 500])
async def test_a_user_at_an_earlier_time_is_as_it_was_then(
    client: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    *,
    time: str,
    version: int,
    name: str,
    active: bool,
    page: int,
) -> None:
    monkeypatch.setattr(routes, "PAGE", page)
    user = UserView.model_validate_json((await client.get("/users/u05/at", params={"time": time})).content)
    assert (user.version, user.name, user.active) == (version, name, active)
    assert user.updated_at == NOON + timedelta(hours=version - 1)


@pytest.mark.usefixtures("_users")
async def test_the_state_at_the_latest_time_is_the_user(client: httpx.AsyncClient) -> None:
    for number in range(12):
        then = await client.get(f"/users/u{number:02}/at?time=2199-01-01")
        assert then.json() == (await client.get(f"/users/u{number:02}")).json()


@pytest.mark.usefixtures("_users")
async def test_before_the_creation_there_is_no_user_and_the_answer_says_so(client: httpx.AsyncClient) -> None:
    answer = await client.get("/users/u05/at?time=2026-03-31T11:59:59Z")
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (404, "user-not-created-yet")
    assert problem["detail"] == (
        "user u05 did not exist at 2026-03-31T11:59:59Z: it was created at 2026-03-31T12:00:00Z"
    )


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/users/nobody", 404, "user-not-found"),
        ("/users/nobody/audit", 404, "user-not-found"),
        ("/users/nobody/at?time=2026-03-31", 404, "user-not-found"),
        ("/users/nobody/at", 400, "invalid-parameter"),
        ("/users/nobody/at?time=yesterday", 400, "invalid-parameter"),
        ("/users?active=perhaps", 400, "invalid-parameter"),
        ("/users?rolle=admin", 400, "invalid-parameter"),
    ],
)
async def test_what_cannot_be_answered_is_a_problem(
    client: httpx.AsyncClient, path: str, status: int, code: str
) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
