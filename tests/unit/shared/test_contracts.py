"""Contracts: upcasting, and that every event survives its own JSON."""

from datetime import UTC, datetime

import pytest

from shared import topology
from shared.contracts.orders import OrderPlaced
from shared.contracts.registry import COMMANDS, EVENTS, UPCASTERS, UnknownEventError, event_data

PLACED_V1 = {
    "order_id": "o-1",
    "customer_id": "c-1",
    "currency": "EUR",
    "lines": [{"product_id": "p", "quantity": 2, "amount": 30}, {"product_id": "q", "quantity": 1, "amount": 12}],
    "placed_at": "2026-03-01T12:00:00Z",
}


def test_an_order_placed_under_the_first_schema_gains_its_sums() -> None:
    event = event_data("orders.order-placed", 1, PLACED_V1)
    assert isinstance(event, OrderPlaced)
    assert (event.item_count, event.total) == (3, 42)
    assert event.placed_at == datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_the_current_schema_is_not_lifted() -> None:
    event = event_data("orders.order-placed", 2, PLACED_V1 | {"item_count": 9, "total": 99})
    assert isinstance(event, OrderPlaced)
    assert (event.item_count, event.total) == (9, 99)


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
    assert {name.split(".")[0] for name in names} == {"orders", "catalog", "customers"}


def test_a_lane_is_the_crc_32_of_the_stream_s_name_modulo_the_lanes() -> None:
    assert topology.lane_of("orders/o-1", 4) == 2729070254 % 4
    assert topology.lane_of("customers/c-7", 7) == 1538493599 % 7


def test_every_queue_that_dead_letters_does_so_at_least_once() -> None:
    for queue in topology.declarations(4).queues:
        assert queue.arguments["x-queue-type"] == "quorum"
        if "x-dead-letter-exchange" in queue.arguments:
            assert queue.arguments["x-dead-letter-strategy"] == "at-least-once"
            assert queue.arguments["x-overflow"] == "reject-publish"
