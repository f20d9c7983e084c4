"""Kept state whose shape has changed: the stream is replayed from its events, and its state is kept anew."""

import json
from dataclasses import replace
from typing import Any

import asyncpg
import msgspec
import pytest

from command_service.domain.aggregates import AGGREGATES, BY_COMMAND
from command_service.domain.orders import AGGREGATE as ORDERS
from command_service.domain.orders import Order
from command_service.domain.orders import evolve as evolve_order
from command_service.handling.decision import Failed, Outcome, Result
from command_service.handling.handler import Handler
from command_service.handling.parsing import Command, read
from shared.contracts import registry
from shared.contracts.orders import OrderPlaced, PayOrder

# What the first version of orders kept, before state had versions.
OLD_STATE = """
UPDATE streams SET state_version = 1, state = json_build_object(
    'status', 'placed', 'placed', (SELECT envelope -> 'data' FROM events WHERE events.stream = streams.stream AND version = 1)
) WHERE stream = $1
"""
KEPT = "SELECT version, state, state_version FROM streams WHERE stream = $1"
LINE = {"product_id": "p", "name": "Tea", "quantity": 2, "amount": 10}
PLACE = {"order_id": "o", "customer_id": "c", "currency": "EUR", "lines": [LINE]}


class OrderPlacedOnline(OrderPlaced, frozen=True, kw_only=True):
    """The next schema version: it says where the order was placed."""

    channel: str


class OrderWithChannel(Order, frozen=True, kw_only=True):
    channel: str


def evolve_with_channel(order: OrderWithChannel | None, event: Any) -> OrderWithChannel:
    channel = event.channel if order is None else order.channel
    if order is None:
        event = OrderPlaced(**{name: getattr(event, name) for name in OrderPlaced.__struct_fields__})
    return OrderWithChannel(**msgspec.structs.asdict(evolve_order(order, event)) | {"channel": channel})


def command(name: str, data: dict[str, Any]) -> Command:
    element = {"specversion": "1.0", "id": name, "source": "t", "type": f"orders.{name}-order", "subject": "o"}
    (part,) = read(json.dumps(element | {"data": data}).encode()).parts
    assert isinstance(part, Command), part
    return part


def answer(results: list[Result]) -> dict[str, Any]:
    [result] = results
    assert isinstance(result, Outcome), result
    found: dict[str, Any] = json.loads(result.body)["data"]
    return found


@pytest.fixture
async def handler(handler: Handler) -> Handler:
    """One that has placed the order."""
    await handler.handle([command("place", PLACE)])
    return handler


async def test_state_of_an_older_shape_is_made_anew_from_the_events(
    handler: Handler, write_db: asyncpg.Connection
) -> None:
    before = await write_db.fetchrow(KEPT, "orders/o")
    await write_db.execute(OLD_STATE, "orders/o")
    assert answer(await handler.handle([command("ship", {})]))["code"] == "invalid-transition"
    assert await write_db.fetchrow(KEPT, "orders/o") == before
    await write_db.execute(OLD_STATE, "orders/o")
    assert answer(await handler.handle([command("pay", {"amount": 10})]))["version"] == 2
    version, state, state_version = tuple(await write_db.fetchrow(KEPT, "orders/o") or ())
    assert (version, state_version, json.loads(state)["status"]) == (2, ORDERS.state_version, "paid")


async def test_a_required_field_is_added_to_an_event_of_an_existing_database(
    handler: Handler, write_db: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    upcasters = {**registry.UPCASTERS, ("orders.order-placed", 2): lambda data: {**data, "channel": "shop"}}
    monkeypatch.setattr(registry, "UPCASTERS", upcasters)
    monkeypatch.setitem(registry._CURRENT, "orders.order-placed", (3, OrderPlacedOnline))
    newer = replace(ORDERS, state=OrderWithChannel, evolve=evolve_with_channel, state_version=ORDERS.state_version + 1)
    aggregates: Any = BY_COMMAND
    monkeypatch.setitem(aggregates, PayOrder, newer)
    assert answer(await handler.handle([command("pay", {"amount": 10})]))["version"] == 2
    _, state, state_version = tuple(await write_db.fetchrow(KEPT, "orders/o") or ())
    assert (json.loads(state)["channel"], json.loads(state)["total"]) == ("shop", 10)
    assert state_version == newer.state_version


async def test_a_stream_that_cannot_be_replayed_keeps_no_other_from_being_decided(
    handler: Handler, write_db: asyncpg.Connection
) -> None:
    await write_db.execute("UPDATE streams SET state_version = 0, version = 2 WHERE stream = 'orders/o'")
    place = json.loads(json.dumps(PLACE)) | {"order_id": "other"}
    element = {"specversion": "1.0", "id": "other", "source": "t", "type": "orders.place-order", "data": place}
    (other,) = read(json.dumps(element).encode()).parts
    assert isinstance(other, Command)
    failed, placed = await handler.handle([command("pay", {"amount": 10}), other])
    assert isinstance(failed, Failed)
    assert "has no event 2" in str(failed.error)
    assert answer([placed])["version"] == 1


def test_state_holds_no_class_of_events() -> None:
    """They change with schema versions of their own."""

    def classes(kind: Any) -> set[str]:
        info = msgspec.inspect.type_info(kind)
        found: set[str] = set()

        def look(one: Any) -> None:
            if isinstance(one, msgspec.inspect.StructType):
                found.add(one.cls.__module__)
                for field in one.fields:
                    look(field.type)
            for inner in (*getattr(one, "types", ()), *filter(None, [getattr(one, "item_type", None)])):
                look(inner)

        look(info)
        return found

    assert len(AGGREGATES) >= 3
    for aggregate in AGGREGATES:
        assert not {name for name in classes(aggregate.state) if name.startswith("shared.contracts")}, aggregate.kind
