"""Contracts: upcasting, and that every event survives its own JSON."""

import json
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from pydantic import ValidationError

from shared.contracts.orders import OrderPaid, OrderPlaced, PlaceOrder
from shared.contracts.registry import COMMANDS, EVENTS, UPCASTERS, UnknownEventError, event_data
from shared.contracts.values import EventData
from shared.messages.envelope import EventEnvelope, ReceivedEvent
from shared.messaging import topology
from tests.shop import cancelled, created, placed, registered

PLACED_V1 = {
    "order_id": "o-1",
    "customer_id": "c-1",
    "currency": "EUR",
    "lines": [{"product_id": "p", "quantity": 2, "amount": 30}, {"product_id": "q", "quantity": 1, "amount": 12}],
    "placed_at": "2026-03-01T12:00:00Z",
}


ORDER = {name: value for name, value in PLACED_V1.items() if name != "placed_at"}


def test_an_order_placed_under_the_first_schema_gains_its_sums() -> None:
    event = event_data("orders.order-placed", 1, PLACED_V1)
    assert isinstance(event, OrderPlaced)
    assert (event.item_count, event.total) == (3, 42)
    assert event.placed_at == datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_the_current_schema_is_not_lifted() -> None:
    event = event_data("orders.order-placed", 2, PLACED_V1 | {"item_count": 9, "total": 99})
    assert isinstance(event, OrderPlaced)
    assert (event.item_count, event.total) == (9, 99)


def test_data_that_do_not_fit_are_refused_by_the_name_of_their_class() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"OrderPlaced: .*total"):
        event_data("orders.order-placed", 2, PLACED_V1 | {"item_count": 9})


def paid(at: object) -> dict[str, object]:
    return {"order_id": "o", "customer_id": "c", "amount": 1, "currency": "EUR", "paid_at": at}


def test_times_are_in_utc_whatever_zone_they_came_in() -> None:
    event = event_data("orders.order-paid", 1, paid("2026-03-01T12:00:00+02:00"))
    assert isinstance(event, OrderPaid)
    assert (event.paid_at.tzinfo, event.paid_at.hour) == (UTC, 10)
    assert (
        OrderPaid(
            order_id="o",
            customer_id="c",
            amount=1,
            currency="EUR",
            paid_at=datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=2))),
        )
        == event
    )


@pytest.mark.parametrize("at", ["1969-12-31T23:59:59Z", "2200-01-01T00:00:00Z", "2026-03-01T12:00:00", "noon", 1, None])
def test_what_is_no_time_within_the_calendar_of_contracts_is_refused(at: object) -> None:
    with pytest.raises(ValueError, match="OrderPaid"):
        event_data("orders.order-paid", 1, paid(at))


@pytest.mark.parametrize("traceparent", [None, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"])
@pytest.mark.parametrize("data", [placed(), cancelled(placed()), created(), registered()])
def test_what_an_event_does_not_have_is_left_out_on_the_wire_and_comes_back_as_nothing(
    data: EventData, traceparent: str | None
) -> None:
    name, version = EVENTS[type(data)]
    written = EventEnvelope(
        id="s@1",
        source="tests",
        type=name,
        subject="s",
        time=datetime(2026, 3, 1, tzinfo=UTC),
        data=data,
        streamversion=1,
        schemaversion=version,
        causationid="c",
        correlationid="c",
        traceparent=traceparent,
    ).to_json()
    assert "null" not in written.decode()
    assert json.loads(written)["specversion"] == "1.0"
    read = ReceivedEvent.model_validate_json(written)
    assert read.traceparent == traceparent
    assert event_data(read.type, read.schemaversion, read.data) == data


@pytest.mark.parametrize(
    ("name", "version"), [("orders.order-lost", 1), ("orders.order-placed", 3), ("orders.order-placed", 0)]
)
def test_what_nobody_declared_is_unknown(name: str, version: int) -> None:
    with pytest.raises(UnknownEventError):
        event_data(name, version, PLACED_V1)


def test_every_older_schema_version_has_its_upcaster() -> None:
    for name, current in EVENTS.values():
        assert all((name, version) in UPCASTERS for version in range(1, current))


def test_names_say_their_context_and_differ() -> None:
    names = [*COMMANDS, *(name for name, _ in EVENTS.values())]
    assert len(names) == len(set(names))
    contexts = {"accounts", "bookings", "catalog", "customers", "devices", "orders", "payments"}
    assert {name.split(".")[0] for name in names} == contexts
    assert {name.split(".")[0] for name in names} == contexts


def test_a_lane_is_the_crc_32_of_the_stream_s_name_modulo_the_lanes() -> None:
    assert topology.lane_of("orders/o-1", 4) == 2729070254 % 4
    assert topology.lane_of("customers/c-7", 7) == 1538493599 % 7


def test_every_queue_that_dead_letters_does_so_at_least_once() -> None:
    for queue in topology.declarations(4).queues:
        assert queue.arguments["x-queue-type"] == "quorum"
        if "x-dead-letter-exchange" in queue.arguments:
            assert queue.arguments["x-dead-letter-strategy"] == "at-least-once"
            assert queue.arguments["x-overflow"] == "reject-publish"


@pytest.mark.parametrize("code", ["EUR", "XOF", "ZWG", "HRK"])
def test_an_amount_is_in_a_currency_of_iso_4217(code: str) -> None:
    assert PlaceOrder.model_validate(ORDER | {"currency": code}).currency == code


@pytest.mark.parametrize("code", ["XXZ", "AAA", "XXX", "XAU", "eur", "EU", "EURO", None])
def test_what_is_no_currency_is_refused_by_the_name_of_the_field(code: str | None) -> None:
    with pytest.raises(ValidationError) as refused:
        PlaceOrder.model_validate(ORDER | {"currency": code})
    assert [error["loc"] for error in refused.value.errors()] == [("currency",)]


def test_an_event_in_a_currency_that_is_none_stays_readable() -> None:
    event = event_data("orders.order-placed", 1, PLACED_V1 | {"currency": "XXZ"})
    assert isinstance(event, OrderPlaced)
    assert event.currency == "XXZ"
