"""Garbage at the door: every message becomes commands with an answer, or undecodable parts. Nothing raises."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_service.handling.parsing import Command, Invalid, Task, Undecodable, read

LINE = {"product_id": "p-1", "quantity": 1, "amount": 100}


def envelope(**changes: Any) -> dict[str, Any]:
    order = {"order_id": "o-1", "customer_id": "c-1", "currency": "EUR", "lines": [LINE]}
    whole: dict[str, Any] = {
        "specversion": "1.0",
        "id": "k-1",
        "source": "test",
        "type": "orders.place-order",
        "data": order,
    }
    return whole | changes


def order(**changes: Any) -> dict[str, Any]:
    return envelope(data={**envelope()["data"], **changes})


def only(body: bytes) -> Command | Undecodable:
    (part,) = read(body).parts
    return part


def code_of(element: Any) -> str:
    part = only(json.dumps(element).encode())
    assert isinstance(part, Command), part
    assert isinstance(part.task, Invalid), part.task
    return part.task.code


def test_a_sound_command_names_its_stream() -> None:
    part = only(json.dumps(envelope()).encode())
    assert isinstance(part, Command)
    assert isinstance(part.task, Task)
    assert part.task.stream == "orders/o-1"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"not json",
        b"{",
        b"[]",
        b"17",
        b'"text"',
        b"null",
        b"[" * 100_000,
        b'{"id": NaN}',
        b'{"id": "\\ud800"}',
        b"1" * 10_000,
        b"x" * (5 * 1024 * 1024),
        json.dumps(envelope(id="")).encode(),
        json.dumps(envelope(id="a b")).encode(),
        json.dumps(envelope(id="a\r\nb")).encode(),
        json.dumps(envelope(id="a\x00b")).encode(),
        json.dumps({"id": "k"}).encode(),
    ],
    ids=lambda body: repr(body[:40]),
)
def test_what_has_no_usable_identity_is_undecodable_with_a_reason(body: bytes) -> None:
    part = only(body)
    assert isinstance(part, Undecodable)
    assert part.code in {"malformed-message", "message-too-large"}
    assert part.message


@pytest.mark.parametrize(
    "element",
    [
        order(currency="euro"),
        order(lines=[]),
        order(lines=[LINE | {"quantity": 0}]),
        order(lines=[LINE | {"quantity": -1}]),
        order(lines=[LINE | {"amount": -1}]),
        order(lines=[LINE | {"amount": 1.5}]),
        order(lines=[LINE | {"amount": "100"}]),
        order(lines=[LINE | {"amount": 2**63}]),
        order(lines=[LINE | {"amount": 10**40}]),
        order(lines=[LINE | {"amount": 2**53 - 1}, LINE]),
        order(lines=[LINE | {"name": "nul \x00"}]),
        order(placed_at="0000-01-01T00:00:00Z"),
        order(placed_at="9999-12-31T23:59:59-01:00"),
        order(placed_at="2026-03-01"),
        order(placed_at="2026-03-01T00:00:00"),
        order(placed_at=1_700_000_000),
        order(order_id="a/b"),
        order(order_id=""),
        order(colour="red"),
        envelope(subject="o-2"),
        envelope(type="orders.pay-order", data={"amount": 5}),
        envelope(data={}),
    ],
    ids=lambda element: json.dumps(element)[60:160],
)
def test_what_breaks_the_contract_is_refused_under_its_own_id(element: Any) -> None:
    assert code_of(element) == "validation-failed"


def test_an_unknown_command_is_refused_by_name() -> None:
    assert code_of(envelope(type="orders.teleport-order")) == "unknown-command"


def test_a_bad_element_of_a_batch_leaves_its_neighbours_alone() -> None:
    message = read(json.dumps([envelope(id="a"), {"id": 7}, envelope(id="b")]).encode())
    assert message.batch
    assert [type(part) for part in message.parts] == [Command, Undecodable, Command]


def test_the_digest_sees_the_body_and_not_its_spelling() -> None:
    def digest(**changes: Any) -> bytes:
        part = only(json.dumps(envelope(**changes)).encode())
        assert isinstance(part, Command)
        return part.digest

    turned = dict(reversed(envelope()["data"].items()))
    assert digest() == digest(data=turned) == digest(source="elsewhere") == digest(time="2026-01-01T00:00:00Z")
    assert digest() != digest(data=envelope()["data"] | {"customer_id": "c-2"})
    assert digest() != digest(expectedversion=0)


@given(st.binary(max_size=200))
def test_no_bytes_at_all_make_it_raise(body: bytes) -> None:
    assert read(body).parts


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["id", "source", "type", "subject", "data", "time", "specversion"]), json_values)
)
def test_no_json_at_all_makes_it_raise(element: dict[str, Any]) -> None:
    body = json.dumps(envelope() | element).encode("utf-8", "surrogatepass")
    assert len(read(body).parts) == 1
