"""An event is the same whichever way it was decoded, and what is odd goes the slow way."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectors.runtime.decoding import Unreadable, decode
from projectors.runtime.fast_decoding import events_in
from projectors.stores.port import Event
from shared.contracts.registry import EVENTS
from shared.contracts.values import EventData
from shared.messages.envelope import pack
from shared.messaging.consuming import Delivery
from shared.messaging.topology import AUTOMATIC_HEADER, lane_of
from tests import devices, shop

ORDER = shop.placed()
FACTS = (
    ORDER,
    shop.paid(),
    shop.shipped(),
    shop.delivered(),
    shop.cancelled(ORDER),
    shop.created(),
    shop.repriced(),
    shop.updated(),
    shop.received(),
    shop.reviewed(),
    shop.registered(),
    shop.renamed(),
    shop.new_email(),
    devices.registered(),
    devices.configured(),
    devices.recorded(("temp", devices.NOON, "1.5"), ("wind", devices.NOON, "2")),
    devices.retired(),
    shop.moved(),
)


def envelope(data: EventData | Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    kind, version = EVENTS[type(data)] if isinstance(data, EventData) else ("orders.order-paid", 1)
    found = {
        "specversion": "1.0",
        "id": "orders/o-1@1",
        "source": "tidemark",
        "type": kind,
        "subject": "orders/o-1",
        "time": "2026-03-31T12:00:00.123456Z",
        "datacontenttype": "application/json",
        "data": json.loads(msgspec.json.encode(data)),
        "streamversion": 1,
        "schemaversion": version,
        "causationid": "c",
        "correlationid": "c",
        "traceparent": None,
        "actor": "chief@example.org",
    } | changes
    return {name: value for name, value in found.items() if value is not ...}


def delivery(body: bytes, queue: str = "summary.1", headers: Mapping[str, Any] | None = None) -> Delivery:
    nowhere: Any = None
    return Delivery(queue, body, headers or {}, "", "", "", None, False, 1, nowhere)


def slowly(body: bytes) -> list[Event]:
    """The same with something in it that the fast way does not take."""
    odd = envelope({}, type="tests.nobody-knows")
    decoded = decode([delivery(pack([body, json.dumps(odd).encode()]))], {"summary.1": 1})
    return [item.event for item in decoded.arrived[:-1]]


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: type(fact).__name__)
def test_both_ways_make_the_same_event(fact: EventData) -> None:
    body = json.dumps(envelope(fact)).encode()
    [(_, event)] = events_in(body, lambda _: 1) or []
    assert [event] == slowly(body)
    assert event.data == fact
    assert event.actor == "chief@example.org"


@pytest.mark.parametrize("changes", [{"actor": None}, {"actor": ...}], ids=["null", "absent"])
def test_an_event_without_an_actor_is_the_same_either_way(changes: dict[str, Any]) -> None:
    body = json.dumps(envelope(ORDER, **changes)).encode()
    [(_, event)] = events_in(body, lambda _: 1) or []
    assert [event] == slowly(body)
    assert event.actor is None


@given(st.data())
def test_both_ways_make_the_same_event_in_whatever_order_its_fields_come(data: st.DataObject) -> None:
    fields = envelope(data.draw(st.sampled_from(FACTS)), extra={"type": "orders.order-paid", "data": [None, {}]})
    body = json.dumps(dict(data.draw(st.permutations(list(fields.items()))))).encode()
    events = events_in(body, lambda _: 1)
    assert events is not None
    assert [event for _, event in events] == slowly(body)


@pytest.mark.parametrize(
    "first", [("type", "orders.order-gift-wrapped"), ("data", {}), ("schemaversion", 7), ("id", "x")]
)
def test_of_a_field_that_is_there_twice_the_last_counts(first: tuple[str, Any]) -> None:
    whole = json.dumps(envelope(ORDER)).encode()
    twice = json.dumps(dict([first])).encode()[:-1] + b", " + whole[1:]
    [item] = decode([delivery(twice)], {"summary.1": 1}).arrived
    assert [item.event] == slowly(whole) == slowly(twice)
    assert item.failure is None


def test_each_event_of_a_batch_is_understood_by_its_own_type() -> None:
    bodies = [json.dumps(envelope(fact)).encode() for fact in FACTS]
    assert [event.data for _, event in events_in(pack(bodies), lambda _: 1) or []] == list(FACTS)


@pytest.mark.parametrize("between", [b",", b" ,\n\t "])
def test_a_batch_keeps_its_order_and_each_event_its_bytes(between: bytes) -> None:
    bodies = [
        json.dumps(envelope(fact, streamversion=n + 1, causationid="é]}, {"), ensure_ascii=n % 2 == 0).encode()
        for n, fact in enumerate(FACTS)
    ]
    decoded = decode([delivery(b"[" + between.join(bodies) + b"]")], {"summary.1": 1})
    assert [item.body() for item in decoded.arrived] == bodies
    assert [item.event.version for item in decoded.arrived] == list(range(1, len(FACTS) + 1))
    assert {item.event.lane for item in decoded.arrived} == {1}


def test_an_event_by_itself_has_the_bytes_of_its_message() -> None:
    body = json.dumps(envelope(ORDER), indent=1).encode()
    [item] = decode([delivery(body)], {"summary.1": 1}).arrived
    assert item.body() == body


def test_events_hold_their_message_and_no_copy_of_it() -> None:
    body = pack([json.dumps(envelope(fact)).encode() for fact in FACTS])
    assert all(item.element is body for item in decode([delivery(body)], {"summary.1": 1}).arrived)


def test_events_from_a_queue_that_is_no_lane_have_the_lane_of_their_stream() -> None:
    decoded = decode([delivery(json.dumps(envelope(ORDER)).encode(), "summary.history")], {"summary.1": 1}, lanes=4)
    assert [item.event.lane for item in decoded.arrived] == [lane_of("orders/o-1", 4)]


@pytest.mark.parametrize("headers", [{}, {AUTOMATIC_HEADER: True}], ids=["an operator", "a projection"])
@pytest.mark.parametrize("changes", [{}, {"type": "tests.nobody-knows"}, {"causationid": ...}], ids=str)
def test_an_event_says_whether_an_operator_may_have_asked_for_it(
    headers: dict[str, Any], changes: dict[str, Any]
) -> None:
    body = json.dumps(envelope(ORDER, **changes)).encode()
    [item] = decode([delivery(body, headers=headers)], {"summary.1": 1}).arrived
    assert item.automatic is bool(headers)


ODD: dict[str, bytes] = {
    "an unknown type": json.dumps(envelope(ORDER, type="orders.order-gift-wrapped")).encode(),
    "an older schema": json.dumps(envelope(ORDER, schemaversion=1)).encode(),
    "a newer schema": json.dumps(envelope(ORDER, schemaversion=99)).encode(),
    "data that do not fit": json.dumps(envelope({"order_id": 7})).encode(),
    "data of another type": json.dumps(envelope(shop.paid(), type="orders.order-placed", schemaversion=2)).encode(),
    "no type": json.dumps(envelope(ORDER, type=...)).encode(),
    "a type that is no text": json.dumps(envelope(ORDER, type=7)).encode(),
    "no data": json.dumps(envelope(ORDER)).replace('"data"', '"date"').encode(),
    "half a surrogate in the stream": json.dumps(envelope(ORDER, subject="orders/\ud800")).encode(),
    "something missing": json.dumps(envelope(ORDER, causationid=...)).encode(),
    "a NUL in the stream": json.dumps(envelope(ORDER, subject="orders/\x00")).encode(),
    "a heartbeat": b'{"specversion": "1.0", "type": "tidemark.heartbeat"}',
    "not JSON": b"{",
    "not UTF-8": json.dumps(envelope(ORDER, id="x")).encode().replace(b"o-1", b"\xff", 1),
    "not UTF-8 in its data": json.dumps(envelope(shop.registered(name="Ada"))).encode().replace(b"Ada", b"\xff"),
    "NaN": json.dumps(envelope({"order_id": "o", "amount": float("nan")})).encode(),
    "too deep": b"[" * 100_000,
    "an empty batch": b"[]",
    "version 0": json.dumps(envelope(ORDER, streamversion=0)).encode(),
    "a time without a zone": json.dumps(envelope(ORDER, time="2026-03-31T12:00:00")).encode(),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_goes_the_slow_way(name: str) -> None:
    assert events_in(ODD[name], lambda _: 1) is None


def test_one_odd_event_in_a_batch_takes_nothing_from_the_others() -> None:
    good, unknown = json.dumps(envelope(ORDER)).encode(), ODD["an unknown type"]
    decoded = decode([delivery(pack([good, unknown]))], {"summary.1": 1})
    first, second = decoded.arrived
    assert (first.event.data, first.failure) == (ORDER, None)
    assert isinstance(second.event.data, Unreadable)
    assert second.failure is not None
    assert [json.loads(item.body()) for item in decoded.arrived] == [json.loads(good), json.loads(unknown)]
