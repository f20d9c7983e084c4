"""Scopes: a wildcard stands for what it says and for nothing else; what is not in the table cannot be granted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.registry import COMMANDS, NAMES
from shared.http.identities import scopes
from shared.http.identities.scopes import (
    ROLES,
    UnknownScopeError,
    allows,
    checked,
    described,
    known,
    of_command,
    role_of,
)

WORD = st.text("abc-", min_size=1, max_size=4)
FAMILY = st.sampled_from(["commands", "queries", "dead-letters", "com"])
NEEDED = st.builds(lambda family, a, b: f"{family}:{a}.{b}" if b else f"{family}:{a}", FAMILY, WORD, st.none() | WORD)
GRANTED = NEEDED | st.builds("{}:*".format, FAMILY) | st.builds("{}:{}.*".format, FAMILY, WORD)


def stands_for(granted: str, needed: str) -> bool:
    """The rule as it is written down, one granted scope at a time."""
    if granted == needed or granted == "*":
        return True
    if granted.endswith(":*"):
        return needed.startswith(granted[:-1])
    return granted.startswith("commands:") and granted.endswith(".*") and needed.startswith(granted[:-1])


@given(st.lists(GRANTED, max_size=5), NEEDED)
def test_a_scope_is_allowed_exactly_if_one_granted_scope_stands_for_it(granted: list[str], needed: str) -> None:
    assert allows(frozenset(granted), needed) == any(stands_for(one, needed) for one in granted)


@given(NEEDED)
def test_everything_allows_everything_and_nothing_nothing(needed: str) -> None:
    assert allows({"*"}, needed)
    assert not allows(set(), needed)


@pytest.mark.parametrize(
    ("granted", "needed"),
    [
        ("commands:orders.*", "commands:orders-archive.delete"),
        ("commands:orders.*", "commands:orders"),
        ("commands:orders.*", "commands:catalog.create-product"),
        ("commands:orders.pay-order", "commands:orders.pay-order-twice"),
        ("commands:*", "queries:orders"),
        ("queries:order", "queries:orders"),
        ("queries:orders", "commands:orders.pay-order"),
        ("dead-letters:read", "dead-letters:payload"),
        ("dead-letters:*", "dead-letters-archive:read"),
        ("*:*", "queries:orders"),
        ("queries", "queries:orders"),
        ("", "queries:orders"),
    ],
)
def test_a_scope_that_is_nearly_the_needed_one_is_not_it(granted: str, needed: str) -> None:
    assert not allows({granted}, needed)


def test_every_command_every_context_and_every_family_can_be_granted() -> None:
    for command in COMMANDS:
        assert checked(f"commands:{command}")
    for context in NAMES:
        assert checked(f"commands:{context}.*")
        assert checked(f"queries:{context}")
    for scope in ("*", "commands:*", "sources:tidemark/http", *scopes.OPERATOR):
        assert checked(scope) == scope
    for scope, _ in described():
        if "<" not in scope:
            assert checked(scope) == scope


@pytest.mark.parametrize(
    ("scope", "says"),
    [
        ("orders", "they begin with commands, queries"),
        ("query:orders", "they begin with"),
        ("queries:order", "queries has accounts, bookings"),
        ("queries:orders.*", "queries has"),
        ("commands:orders.pay", "commands has"),
        ("commands:orders", "commands has"),
        ("dead-letters:write", "dead-letters has read, annotate, payload, replay, discard, edit"),
        ("sources:a b", "sources has <source>"),
        ("", "there is no scope ''"),
        ("**", "there is no scope"),
    ],
)
def test_a_scope_that_there_is_not_cannot_be_granted_and_the_error_says_what_there_is(scope: str, says: str) -> None:
    with pytest.raises(UnknownScopeError, match=says.replace("*", r"\*")):
        checked(scope)
    assert not known({scope})


def test_what_a_token_grants_for_other_services_is_left_out() -> None:
    assert known({"openid", "email", "queries:orders", "https://example.org/all"}) == {"queries:orders"}


def test_the_audit_names_no_scope_that_a_client_has_made_up() -> None:
    assert scopes.described_scope("sources:\n<script>") == "sources:<source>"
    assert scopes.described_scope("queries:orders") == "queries:orders"


def test_no_scope_of_commands_has_anybody_erased() -> None:
    needed = of_command("privacy.erase-subject")
    assert not allows(["commands:*", "commands:privacy.*", "commands:privacy.erase-subject"], needed)
    assert allows(["erasure:request"], needed)
    assert of_command("orders.pay-order") == "commands:orders.pay-order"


def test_each_role_has_all_that_the_one_before_it_has_and_is_known_by_its_scopes() -> None:
    before: frozenset[str] = frozenset()
    for name, role in ROLES.items():
        assert all(checked(scope) for scope in role.scopes)
        assert all(allows(role.scopes, scope) for scope in before)
        assert role_of(role.scopes) == name
        before = role.scopes
    assert role_of({"queries:*"}) is None
    assert role_of(ROLES["operator"].scopes | {"dead-letters:*"}) == "operator"
    assert role_of(ROLES["operator"].scopes | {"dead-letters:*", "projections:*"}) == "approver"


@pytest.mark.parametrize(
    ("role", "may", "may_not"),
    [
        ("viewer", "dead-letters:read", "dead-letters:payload"),
        ("viewer", "checks:read", "checks:run"),
        ("operator", "projections:rebuild", "projections:activate"),
        ("operator", "dead-letters:edit", "dead-letters:discard"),
        ("approver", "projections:activate", "operations:read-only"),
        ("approver", "dead-letters:discard", "erasure:request"),
    ],
)
def test_a_role_ends_where_the_next_one_begins(role: str, may: str, may_not: str) -> None:
    assert allows(ROLES[role].scopes, may)
    assert not allows(ROLES[role].scopes, may_not)
