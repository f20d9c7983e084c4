"""What is optional in an envelope costs no command; what changes its meaning is refused under its own id when it is malformed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_service.handling.parsing import Command, Invalid, Task, Undecodable, read

LINE = {"product_id": "p-1", "quantity": 1, "amount": 100}
ORDER = {"order_id": "o-1", "customer_id": "c-1", "currency": "EUR", "lines": [LINE]}
PLACE: dict[str, Any] = {
    "specversion": "1.0",
    "id": "k-1",
    "source": "test",
    "type": "orders.place-order",
    "data": ORDER,
}
PAY: dict[str, Any] = {
    "id": "k-2",
    "source": "s",
    "type": "orders.pay-order",
    "subject": "o-1",
    "data": {"amount": 100, "method": "Überweisung 😀"},
}
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def command(envelope: Any) -> Command:
    (part,) = read(json.dumps(envelope).encode()).parts
    assert isinstance(part, Command), part
    return part


def refusal(envelope: Any) -> Invalid:
    task = command(envelope).task
    assert isinstance(task, Invalid), task
    return task


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-01"),
        (f"00-{TRACE}-{PARENT}-00", f"00-{TRACE}-{PARENT}-00"),
        (f"01-{TRACE}-{PARENT}-03", f"00-{TRACE}-{PARENT}-01"),
        (f"cc-{TRACE}-{PARENT}-00-what-the-future-will-be-like", f"00-{TRACE}-{PARENT}-00"),
        (f"01-{TRACE}-{PARENT}-01.what", None),
        (f"00-{TRACE}-{PARENT}-01-more", None),
        (f"ff-{TRACE}-{PARENT}-01", None),
        (f"00-{'0' * 32}-{PARENT}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{PARENT}-01", None),
        (f"00-{TRACE}-{PARENT}-01\n", None),
        (f"00-{TRACE}-{PARENT}", None),
        ("garbage", None),
        ("", None),
        (None, None),
        (7, None),
        ({"trace": [1]}, None),
    ],
    ids=str,
)
def test_a_trace_parent_is_read_as_far_as_it_is_known_and_costs_no_command(given: Any, kept: str | None) -> None:
    found = command(PLACE | {"traceparent": given})
    assert isinstance(found.task, Task)
    assert found.envelope.traceparent == kept


@pytest.mark.parametrize(
    "attributes",
    [
        {"time": "yesterday"},
        {"time": 1_700_000_000},
        {"time": "0000-01-01T00:00:00Z"},
        {"time": "9999-12-31T23:59:59Z"},
        {"time": "2026-03-01T09:30:00"},
        {"time": None},
        {"datacontenttype": "application/json; charset=utf-8"},
        {"datacontenttype": "application/vnd.shop.order+json"},
        {"datacontenttype": "text/xml"},
        {"datacontenttype": None},
        {"datacontenttype": 7},
        {"dataschema": "https://example.org/order.json"},
        {"dataschema": "no uri"},
        {"tracestate": "a=1,b=2"},
        {"tracestate": {}},
        {"subject": None, "expectedversion": None, "notbefore": None, "actor": None},
        {"actor": "ann@example.org"},
        {"notbefore": "2020-01-01T00:00:00Z"},
        {"comexampleext": [1, {"a": None}], "Comexample-Other": True, "": 1.5, "a\x00b": "c\x00d"},
        {"data_base64": "e30="},
    ],
    ids=str,
)
def test_what_only_informs_costs_no_command_and_changes_nothing(attributes: dict[str, Any]) -> None:
    plain, adorned = command(PLACE), command(PLACE | attributes)
    assert isinstance(adorned.task, Task)
    assert (adorned.task, adorned.digest) == (plain.task, plain.digest)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
MEANING = {"specversion", "id", "source", "type", "subject", "data", "expectedversion", "notbefore", "actor"}
INFORMATIVE = st.sampled_from(["time", "datacontenttype", "dataschema", "traceparent", "tracestate", "partitionkey"])
EXTENSIONS = (INFORMATIVE | st.text(max_size=30)).filter(lambda name: name not in MEANING)


@given(st.dictionaries(EXTENSIONS, JSON, max_size=6), st.sampled_from([PLACE, PAY, PLACE | {"data": {"lines": []}}]))
def test_no_further_attribute_of_whatever_kind_ever_changes_what_becomes_of_a_command(
    attributes: dict[str, Any], envelope: dict[str, Any]
) -> None:
    (adorned,) = read(json.dumps(envelope | attributes).encode("utf-8", "surrogatepass")).parts
    plain = command(envelope)
    assert isinstance(adorned, Command)
    assert (adorned.task, adorned.digest) == (plain.task, plain.digest)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"specversion": "0.3"}, "specversion"),
        ({"specversion": 1.0}, "specversion"),
        ({"type": "DROP TABLE orders"}, "type"),
        ({"type": "a\x00b"}, "type"),
        ({"type": "x" * 500_000}, "type"),
        ({"type": 7}, "type"),
        ({"type": None}, "type"),
        ({"subject": ""}, "subject"),
        ({"subject": 7}, "subject"),
        ({"subject": "a\r\nb"}, "subject"),
        ({"subject": "orders/o-1"}, "subject"),
        ({"data": None}, "data"),
        ({"data": [1]}, "data"),
        ({"data": "{}"}, "data"),
        ({"expectedversion": -1}, "expectedversion"),
        ({"expectedversion": "3"}, "expectedversion"),
        ({"expectedversion": True}, "expectedversion"),
        ({"expectedversion": 2**70}, "expectedversion"),
        ({"notbefore": "tomorrow"}, "notbefore"),
        ({"notbefore": 1_700_000_000}, "notbefore"),
        ({"actor": ""}, "actor"),
        ({"actor": {"name": "ann"}}, "actor"),
        ({"actor": "a\x00b"}, "actor"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_changes_the_meaning_is_refused_under_the_commands_own_id_when_malformed(
    change: dict[str, Any], field: str
) -> None:
    found = command(PLACE | change)
    assert isinstance(found.task, Invalid)
    assert (found.envelope.id, found.envelope.source, found.task.code) == ("k-1", "test", "validation-failed")
    assert [error["field"] for error in found.task.errors] == [field]
    kept = json.dumps([found.envelope.type, found.envelope.subject, found.task.message, *found.task.errors])
    assert "\\u0000" not in kept
    assert len(kept) < 2000
    assert found.digest != command(PLACE).digest


@pytest.mark.parametrize("name", ["type", "data"])
def test_a_command_that_lacks_what_is_needed_is_refused_under_its_own_id(name: str) -> None:
    found = refusal({attribute: value for attribute, value in PLACE.items() if attribute != name})
    assert (found.code, [error["field"] for error in found.errors]) == ("validation-failed", [name])


def test_a_command_of_no_known_type_is_refused_by_name_and_the_nearest_is_told() -> None:
    found = refusal(PLACE | {"type": "orders.place-ordr", "subject": 7})
    assert found.code == "unknown-command"
    assert '"orders.place-ordr"' in found.message
    assert "orders.place-order" in found.message


@pytest.mark.parametrize(
    "envelope",
    [
        {name: value for name, value in PLACE.items() if name != "id"},
        {name: value for name, value in PLACE.items() if name != "source"},
        PLACE | {"id": ""},
        PLACE | {"id": 7},
        PLACE | {"id": "a b"},
        PLACE | {"id": "x" * 129},
        PLACE | {"source": ""},
        PLACE | {"source": None},
        PLACE | {"source": "a\x00b"},
        [PLACE],
        "orders.place-order",
        7,
    ],
    ids=lambda value: str(value)[:60],
)
def test_only_what_has_no_usable_identity_is_no_command(envelope: Any) -> None:
    (part,) = read(json.dumps([envelope]).encode()).parts
    assert isinstance(part, Undecodable)
    assert part.code == "malformed-message"


@pytest.mark.parametrize(
    ("envelope", "digest"),
    [
        (PLACE, "0d495e09a629ca2f1a5e4557a75017211203aee4fedf75e06f103756d15ef559"),
        (
            PLACE | {"subject": "o-1", "expectedversion": 0},
            "79d6c3900b2c917b748d82dc7b976e639ae6dc207ff38c5ace46558e1fface15",
        ),
        (
            PLACE | {"subject": None, "expectedversion": None, "time": None, "traceparent": None},
            "0d495e09a629ca2f1a5e4557a75017211203aee4fedf75e06f103756d15ef559",
        ),
        (
            PLACE | {"time": "2026-03-01T09:30:00Z", "traceparent": f"00-{TRACE}-{PARENT}-01", "ext": {"a": [1]}},
            "0d495e09a629ca2f1a5e4557a75017211203aee4fedf75e06f103756d15ef559",
        ),
        (PAY, "6fec1d6e9f527bfe9ebc9ca31d9f650e5c3f84a7243c1b46668bbbfb1e437ad1"),
        (
            {"id": "k", "source": "s", "type": "a.b", "data": {"x": 1.5, "y": [None, True, {}]}},
            "76c85057186ba401eead8710dc4cc76876d56590d5338fd4232a0f182ab1f8b2",
        ),
        (
            PLACE | {"data": {"lines": []}},
            "a4f1054826610e3f4c55e4ad9b686661ecc8ab8354133630e245fbdd142c6ec7",
        ),
        (
            PLACE | {"data": ORDER | {"lines": [LINE | {"amount": 10**40}]}},
            "e9c48b409b3d3223aefc3f75e909de3cd46c2f2aa2d05470901e0b1916a84537",
        ),
        (
            {"id": "k", "source": "s", "type": "a.b", "data": {"x": 1e22, "y": -0.0, "z": 2**63}},
            "c57bb57dbaf2863ea6d6c1f0772f7c7114df2a9cfe3a9b5f90f56c67e09ecc98",
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_the_digest_of_a_command_is_what_it_was_when_its_outcome_was_kept(envelope: Any, digest: str) -> None:
    """These were taken from the code that wrote the first databases: a command of then, sent again now, must be known."""
    assert command(envelope).digest.hex() == digest
