"""A user at any time is what their events up to then come to, whoever folds them: the domain, the projection, the replay of the audit."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from command_service.domain.users import User, decide, evolve
from projectors.models.summary.projection import fold
from projectors.models.summary.users import AUDIT
from projectors.stores.folding import Fields
from projectors.stores.port import Advance
from query_service.accounts.replay import AuditedChange, replayed
from shared.contracts.accounts import (
    ChangeUserEmail,
    ChangeUserRole,
    CreateUser,
    DeactivateUser,
    ReactivateUser,
    RenameUser,
)
from shared.contracts.values import EventData
from shared.views.accounts import UserAuditEntry, UserView
from tests import shop, users

CREATE: Final = CreateUser(user_id="u-1", name="Ann", email="ann@example.org", role="clerk")
TEXTS: Final = st.sampled_from(["Ann", "Bea", "Cleo"])
CHANGES: Final = st.lists(
    st.tuples(
        st.one_of(
            TEXTS.map(lambda name: RenameUser(name=name)),
            TEXTS.map(lambda name: ChangeUserEmail(email=f"{name}@example.org")),
            TEXTS.map(lambda role: ChangeUserRole(role=role)),
            TEXTS.map(lambda reason: DeactivateUser(reason=reason)),
            st.just(ReactivateUser()),
        ),
        st.integers(-2, 5),
    ),
    max_size=20,
)
"""Commands, each so many minutes after the one before: the clock of another worker may be behind."""


def history(changes: Sequence[tuple[Any, int]]) -> list[tuple[EventData, User]]:
    """Each event, and the user after it."""
    found: list[tuple[EventData, User]] = []
    now, state = shop.NOON, None
    for command, minutes in [(CREATE, 0), *changes]:
        now += timedelta(minutes=minutes)
        for event in decide(state, command, now):
            state = evolve(state, event)
            found.append((event, state))
    return found


def audit(facts: Sequence[EventData], actor: str | None = None) -> list[dict[str, Any]]:
    """The rows of the audit, by column, as they are in the database."""
    run = shop.run("users/u-1", *facts)
    events = [msgspec.structs.replace(event, actor=actor) for event in run.events]
    rows = fold([msgspec.structs.replace(run, events=events)]).appended["user_audit"]
    return [dict(zip(AUDIT.columns, row, strict=True)) for row in rows]


def audited(facts: Sequence[EventData]) -> list[AuditedChange]:
    return [
        AuditedChange(row["version"], row["at"], json.loads(msgspec.json.encode(row["after"]))) for row in audit(facts)
    ]


def document(facts: Sequence[EventData]) -> Fields:
    return fold([shop.run("users/u-1", *facts)]).documents["users"].created["u-1"]


def seen(fields: Any) -> UserView:
    return UserView.model_validate_json(msgspec.json.encode(fields))


@given(CHANGES, st.integers(0, 30), st.integers(1, 4))
def test_the_state_at_any_time_is_the_fold_of_the_events_up_to_then(
    changes: list[tuple[Any, int]], minutes: int, page: int
) -> None:
    facts = history(changes)
    time = shop.NOON + timedelta(minutes=minutes)
    everything = audited([event for event, _ in facts])
    last = max(change.version for change in everything if change.at <= time)
    known = [change for change in everything if change.version <= last]
    state: dict[str, Any] = {}
    for start in range(0, len(known), page):
        state = replayed(state, known[start : start + page])
    found = seen(state)
    assert found == seen(document([event for event, _ in facts[:last]]))
    _, user = facts[last - 1]
    assert (found.user_id, found.name, found.email, found.role, found.deactivation_reason) == (
        *(user.user_id, user.name, user.email, user.role),
        user.deactivation_reason,
    )
    assert found.active is (user.deactivation_reason is None)
    assert found.version == last


@given(CHANGES)
def test_what_was_before_a_change_is_what_was_after_those_before_it(changes: list[tuple[Any, int]]) -> None:
    state: dict[str, Any] = {}
    for row in audit([event for event, _ in history(changes)]):
        assert {name: state.get(name) for name in row["before"]} == row["before"]
        assert not state or row["before"].keys() == row["after"].keys()
        state |= row["after"]


def test_the_audit_says_who_did_it_and_a_row_has_every_field_of_its_view() -> None:
    [_, row] = audit([users.created(), users.new_role()], actor="chief@example.org")
    assert row == {
        "user_id": "u-1",
        "version": 2,
        "type": "accounts.role-changed",
        "at": shop.NOON,
        "actor": "chief@example.org",
        "before": {"role": "clerk"},
        "after": {"role": "admin"},
    }
    assert row.keys() - {"user_id"} == UserAuditEntry.model_fields.keys()


def test_the_history_says_who_did_it() -> None:
    event = msgspec.structs.replace(shop.event(users.created(), "users/u-1"), actor="chief@example.org")
    [row] = fold([Advance("users/u-1", 0, [event])]).appended["history"]
    assert row[:5] == ("users/u-1", 1, "accounts.user-created", shop.NOON, "chief@example.org")


def test_a_user_follows_every_change() -> None:
    facts = [users.created(), users.renamed(), users.new_email(), users.new_role(), users.deactivated()]
    user = seen(document(facts))
    assert (user.name, user.email, user.role, user.version) == ("Bea", "bea@example.org", "admin", 5)
    assert (user.active, user.deactivation_reason) == (False, "left")
    back = seen(document([*facts, users.reactivated()]))
    assert (back.active, back.deactivation_reason, back.version) == (True, None, 6)
