"""Sealing, the pure part: whatever happens to a person's texts, in whatever order, they are readable with the key and never without."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_service.domain.customers import Customer, evolve
from shared.contracts.catalog import AddReview, ReviewAdded
from shared.contracts.customers import CustomerRegistered, CustomerRenamed
from shared.contracts.orders import OrderPaid
from shared.contracts.registry import COMMANDS, EVENTS, PERSONS
from shared.privacy.command_bodies import PersonErasedError, opened_command, sealed_command, subject_of_command
from shared.privacy.marks import ERASED, MARKER, personal_fields, subject_of
from shared.privacy.sealing import KeyMissingError, Keys, erased, open_text, opened, seal_text, sealed, texts_of
from tests.shop import NOON

STREAM = "customers/c-1"
KEYS: Keys = {STREAM: b"k" * 32}
GONE: Keys = {STREAM: None}
TEXT = st.text(min_size=1, max_size=40).filter(lambda text: not text.startswith(MARKER))


@given(TEXT)
def test_a_sealed_text_opens_under_its_key_and_subject_alone(text: str) -> None:
    closed = seal_text(text, STREAM, b"k" * 32)
    assert closed != seal_text(text, STREAM, b"k" * 32), "equal texts do not look equal"
    assert open_text(closed, STREAM, b"k" * 32) == text
    for subject, key in (("customers/c-2", b"k" * 32), (STREAM, b"j" * 32)):
        with pytest.raises(KeyMissingError):
            open_text(closed, subject, key)
    with pytest.raises(KeyMissingError):
        open_text(closed[:-4] + "AAAA", STREAM, b"k" * 32)


@given(st.lists(st.tuples(st.sampled_from(["rename", "erase", "decode", "store"]), TEXT), max_size=12), TEXT)
def test_a_person_s_state_is_what_was_said_until_they_are_erased_and_the_erased_form_ever_after(
    steps: list[tuple[str, str]], name: str
) -> None:
    """Events and states are stored sealed, and opened with the keys of the moment: decoded again, rebuilt, restored."""
    keys = KEYS
    said = name
    stored: list[Any] = [sealed(CustomerRegistered(customer_id="c-1", name=name, registered_at=NOON), STREAM, keys)]
    state: Customer | None = None
    for step, text in steps:
        if step == "rename" and keys[STREAM] is not None:
            event = CustomerRenamed(customer_id="c-1", name=text, previous_name=said, renamed_at=NOON)
            stored.append(sealed(event, STREAM, keys))
            said, state = text, None
        elif step == "erase":
            keys = GONE
        elif step == "store" and state is not None:
            state = opened(sealed(state, STREAM, keys), STREAM, keys)
        else:
            state = None
            for event in stored:
                state = evolve(state, opened(event, STREAM, keys))
        if state is not None and step in ("decode", "store"):
            assert state.name == (ERASED if keys[STREAM] is None else said)
    for event in stored:
        assert all(text.startswith(MARKER) for text in texts_of(event).values())
        assert texts_of(opened(event, STREAM, GONE)) == dict.fromkeys(texts_of(event), ERASED)
        assert opened(event, STREAM, GONE) == erased(event)
        with pytest.raises(KeyMissingError):
            opened(event, STREAM, {})


def test_what_has_no_personal_texts_is_the_same_object() -> None:
    paid = OrderPaid(order_id="o", customer_id="c-1", currency="EUR", amount=1, paid_at=NOON)
    assert sealed(paid, "orders/o", {}) is paid
    assert opened(paid, "orders/o", {}) is paid
    nobody = ReviewAdded(product_id="p", review_id="r", rating=1, text="x", review_count=1, rating_sum=1, added_at=NOON)
    assert sealed(nobody, "products/p", {}) is nobody


def test_an_absent_text_stays_absent_and_one_from_before_stays_until_the_erasure() -> None:
    event = CustomerRegistered(customer_id="c-1", name="Ann", email=None, registered_at=NOON)
    assert opened(event, STREAM, KEYS) is event
    assert opened(event, STREAM, GONE) == CustomerRegistered(customer_id="c-1", name=ERASED, registered_at=NOON)


def test_a_review_is_its_customer_s() -> None:
    assert subject_of(AddReview, {"customer_id": "c-1"}, "/p-1") == STREAM
    assert subject_of(AddReview, {}, "/p-1") is None


def test_every_command_with_personal_fields_says_whose_they_are() -> None:
    for contract in COMMANDS.values():
        if personal_fields(contract):
            assert contract.personal_subject is not None, contract
            assert contract.personal_subject[0] in PERSONS
    for cls in EVENTS:
        for name in personal_fields(cls):
            assert name in cls.__struct_fields__


@given(TEXT, st.sampled_from([STREAM, None]))
def test_a_command_is_kept_without_its_texts_and_opens_as_it_was(name: str, subject: str | None) -> None:
    command = {"type": "customers.rename-customer", "subject": "c-1", "data": {"name": name}, "id": "k"}
    assert subject_of_command(command) == STREAM
    kept = sealed_command(command, subject, KEYS)
    assert kept["data"]["name"] != name or name == ERASED
    if subject is not None:
        assert opened_command(kept, STREAM, KEYS) == command
        with pytest.raises(PersonErasedError):
            opened_command(kept, STREAM, GONE)
        with pytest.raises(KeyMissingError):
            opened_command(kept, STREAM, {})


@pytest.mark.parametrize("own_id", ["", "c\x00", "x" * 129, 5, None])
def test_what_can_be_no_id_is_nobody(own_id: Any) -> None:
    assert subject_of(AddReview, {"customer_id": own_id}, "/p-1") is None
    assert subject_of(AddReview, {"customer_id": "x" * 128}, "/p-1") == f"customers/{'x' * 128}"
