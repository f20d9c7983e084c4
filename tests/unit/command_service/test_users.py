"""Users: what each command does, who is recorded, and that no two users ever hold the same address."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_service.domain.aggregate import Refused
from command_service.domain.users import AGGREGATE, User, claims, decide, evolve
from command_service.handling import decision
from command_service.handling.decision import ClaimKey, LoadedStreams, Outcome, StoredStream
from command_service.handling.parsing import Command, read
from command_service.privacy.personal_data import hashed_claim
from shared.contracts.accounts import (
    ChangeUserEmail,
    ChangeUserRole,
    CreateUser,
    DeactivateUser,
    ReactivateUser,
    RenameUser,
    UserCreated,
    UserDeactivated,
    UserEmailChanged,
    UserReactivated,
    UserRenamed,
    UserRoleChanged,
    email_key,
)
from shared.privacy.sealing import opened
from tests.personal_keys import EVERY_KEY

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CREATE = CreateUser(user_id="u-1", name="Ann", email="Ann@example.org", role="clerk")
CREATED = UserCreated(user_id="u-1", name="Ann", email="Ann@example.org", role="clerk", created_at=NOW)


def user(*commands: Any) -> User | None:
    state: User | None = None
    for command in commands:
        for event in decide(state, command, NOW):
            state = evolve(state, event)
    return state


def command(type_: str, key: str, subject: str, data: dict[str, Any], actor: str | None = None) -> Command:
    element = {"id": key, "source": "tests", "type": type_, "subject": subject, "data": data, "actor": actor}
    (part,) = read(json.dumps(element).encode()).parts
    assert isinstance(part, Command), part
    return part


@pytest.mark.parametrize(
    ("before", "change", "event"),
    [
        ([], CREATE, CREATED),
        ([CREATE], RenameUser(name="Bea"), UserRenamed(user_id="u-1", name="Bea", previous_name="Ann", renamed_at=NOW)),
        (
            [CREATE],
            ChangeUserEmail(email="bea@example.org"),
            UserEmailChanged(user_id="u-1", email="bea@example.org", previous_email="Ann@example.org", changed_at=NOW),
        ),
        (
            [CREATE],
            ChangeUserRole(role="admin"),
            UserRoleChanged(user_id="u-1", role="admin", previous_role="clerk", changed_at=NOW),
        ),
        (
            [CREATE],
            DeactivateUser(reason="left"),
            UserDeactivated(user_id="u-1", reason="left", deactivated_at=NOW),
        ),
        (
            [CREATE, DeactivateUser(reason="left")],
            ReactivateUser(),
            UserReactivated(user_id="u-1", previous_reason="left", reactivated_at=NOW),
        ),
        (
            [CREATE, DeactivateUser(reason="left")],
            RenameUser(name="Bea"),
            UserRenamed(user_id="u-1", name="Bea", previous_name="Ann", renamed_at=NOW),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_change_says_what_was_before_and_what_is_after(before: list[Any], change: Any, event: Any) -> None:
    assert decide(user(*before), change, NOW) == [event]


@pytest.mark.parametrize(
    "change",
    [
        RenameUser(name="Ann"),
        ChangeUserEmail(email="Ann@example.org"),
        ChangeUserRole(role="clerk"),
        ReactivateUser(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_change_that_changes_nothing_is_accepted_without_an_event(change: Any) -> None:
    assert decide(user(CREATE), change, NOW) == []


def test_a_deactivated_user_is_not_deactivated_again_and_keeps_the_first_reason() -> None:
    left = user(CREATE, DeactivateUser(reason="left"))
    assert decide(left, DeactivateUser(reason="again"), NOW) == []


@pytest.mark.parametrize(
    ("before", "change", "code"),
    [([CREATE], CREATE, "user-already-exists"), ([], RenameUser(name="Bea"), "user-not-found")],
)
def test_users_are_refused_with_stable_codes(before: list[Any], change: Any, code: str) -> None:
    with pytest.raises(Refused) as refused:
        decide(user(*before), change, NOW)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ann@Example.org", "ann@example.ORG"),
        ("stra\u00dfe@example.org", "STRASSE@example.org"),
        ("ren\u00e9@example.org", "RENE\u0301@example.org"),
        ("\u03c3\u03bf\u03c6\u03bf\u03c2@example.org", "\u03a3\u039f\u03a6\u039f\u03a3@example.org"),
    ],
)
def test_case_and_composition_make_no_other_address(one: str, other: str) -> None:
    assert email_key(one) == email_key(other)


@pytest.mark.parametrize(
    "other", ["ann+news@example.org", "a.nn@example.org", "\uff41nn@example.org", "\u00e4nn@example.org"]
)
def test_nothing_else_is_folded(other: str) -> None:
    assert email_key("ann@example.org") != email_key(other)


@given(st.text())
def test_the_key_of_a_key_is_itself(text: str) -> None:
    assert email_key(email_key(text)) == email_key(text)


def test_an_address_that_grows_too_long_for_an_index_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 320"):
        ChangeUserEmail(email="\U0001d160" * 300 + "@example.org")


def test_another_spelling_of_the_own_address_takes_and_releases_nothing() -> None:
    [event] = decide(user(CREATE), ChangeUserEmail(email="ANN@example.org"), NOW)
    assert not claims(event).take
    assert not claims(event).release


def test_the_actor_of_a_command_is_that_of_its_events() -> None:
    create = command("accounts.create-user", "k1", "u-1", CREATE.model_dump(), actor="chief@example.org")
    rename = command("accounts.rename-user", "k2", "u-1", {"name": "Bea"})
    batch = decision.decide(
        [create, rename],
        LoadedStreams(
            keys=EVERY_KEY, claims={("user-email", hashed_claim("user-email", "ann@example.org", b"")): None}
        ),
        NOW,
    )
    first, second = (json.loads(event.envelope) for event in batch.events)
    assert first["actor"] == "chief@example.org"
    assert "actor" not in second


SPELLINGS = ["a@example.org", "A@Example.org", "\u00e9@example.org", "E\u0301@example.org", "b@example.org"]
IDS = ["u-1", "u-2", "u-3"]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(IDS),
        st.one_of(
            st.sampled_from(SPELLINGS).map(
                lambda email: ("accounts.create-user", {"name": "Ann", "email": email, "role": "clerk"})
            ),
            st.sampled_from(SPELLINGS).map(lambda email: ("accounts.change-email", {"email": email})),
            st.just(("accounts.deactivate-user", {"reason": "left"})),
            st.just(("accounts.reactivate-user", {})),
        ),
    ),
    max_size=25,
)


class WriteDatabase:
    """What the decision reads and writes, in memory."""

    def __init__(self) -> None:
        self.streams: dict[str, StoredStream] = {}
        self.claims: dict[ClaimKey, str] = {}

    def handle(self, commands: Sequence[Command]) -> list[str]:
        known = LoadedStreams(keys=EVERY_KEY, streams=self.streams)
        while (batch := decision.decide(commands, known, NOW)).missing:
            known.claims |= {key: self.claims.get(key) for key in batch.missing}
        for key, holder in batch.claims.items():
            if holder is None:
                self.claims.pop(key, None)
            else:
                self.claims[key] = holder
        for name, current in batch.streams.items():
            if current.version:
                self.streams[name] = StoredStream(
                    current.version, current.state_json(name, EVERY_KEY), AGGREGATE.state_version
                )
        assert all(isinstance(result, Outcome) for result in batch.results)
        return [
            json.loads(result.body)["data"].get("code", "") for result in batch.results if isinstance(result, Outcome)
        ]

    def users(self) -> dict[str, User]:
        found = {name: AGGREGATE.restored(row.state, row.state_version) for name, row in self.streams.items()}
        return {name: opened(state, name, EVERY_KEY) for name, state in found.items() if isinstance(state, User)}


@given(STEPS, st.integers(1, 6))
def test_no_two_users_ever_hold_the_same_address_whatever_happens_and_however_it_is_batched(
    steps: list[tuple[str, tuple[str, dict[str, Any]]]], batch: int
) -> None:
    database = WriteDatabase()
    commands = [
        command(type_, f"k{number}", id_, data | ({"user_id": id_} if type_ == "accounts.create-user" else {}))
        for number, (id_, (type_, data)) in enumerate(steps)
    ]
    for start in range(0, len(commands), batch):
        codes = database.handle(commands[start : start + batch])
        assert set(codes) <= {"", "user-already-exists", "user-not-found", "user-email-taken"}
        held = {name: email_key(state.email) for name, state in database.users().items()}
        assert len(set(held.values())) == len(held)
        assert {value: holder for (_, value), holder in database.claims.items()} == {
            hashed_claim("user-email", key, b""): name for name, key in held.items()
        }
