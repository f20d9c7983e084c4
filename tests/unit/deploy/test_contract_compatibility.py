"""Which changes of the contracts break senders, and which readers."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

import deploy.contracts
from command_service.http.asyncapi import document
from deploy.contracts.compatibility import breaking_changes

RELEASED = Path(deploy.contracts.__file__).parent / "released.json"

Change = Callable[[dict[str, Any]], Any]


def schemas(whole: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = whole["components"]["schemas"][name]
    return found


def field(whole: dict[str, Any], schema: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = schemas(whole, schema)["properties"][name]
    return found


BREAKING: list[tuple[str, Change, str]] = [
    (
        "a required field of a command",
        lambda new: schemas(new, "PayOrder")["required"].append("method"),
        "breaks senders: orders.pay-order.data.method: is required now",
    ),
    (
        "a field of a command goes",
        lambda new: schemas(new, "PayOrder")["properties"].pop("method"),
        "breaks senders: orders.pay-order.data.method: is not taken any more",
    ),
    (
        "a command goes",
        lambda new: new["channels"]["commands"]["messages"].pop("orders.ship-order"),
        "breaks senders: orders.ship-order: is no longer there",
    ),
    (
        "a bound of a nested field is tightened",
        lambda new: field(new, "OrderLine", "quantity").update(maximum=100),
        "breaks senders: orders.place-order.data.lines[].quantity: maximum is 100, not 1000000000",
    ),
    (
        "a bound that was not there",
        lambda new: field(new, "OrderLine", "quantity").update(multipleOf=5),
        "breaks senders: orders.place-order.data.lines[].quantity: multipleOf is 5, not unbounded",
    ),
    (
        "a field may not be null any more",
        lambda new: (
            field(new, "ShipOrder", "carrier").pop("anyOf") and field(new, "ShipOrder", "carrier").update(type="string")
        ),
        "breaks senders: orders.ship-order.data.carrier: is null, not string",
    ),
    (
        "a command's field has another type",
        lambda new: field(new, "ChangePrice", "price").update(type="string"),
        "breaks senders: catalog.change-price.data.price: is integer, not string",
    ),
    (
        "another pattern",
        lambda new: field(new, "PlaceOrder", "currency").update(pattern="^EUR$"),
        "breaks senders: orders.place-order.data.currency: pattern is '^EUR$', not '^[A-Z]{3}$'",
    ),
    (
        "an event goes",
        lambda new: new["channels"]["events"]["messages"].pop("orders.order-paid"),
        "breaks readers: orders.order-paid: is no longer there",
    ),
    (
        "a field of an event is not always there",
        lambda new: schemas(new, "OrderPaid")["required"].remove("amount"),
        "breaks readers: orders.order-paid.data.amount: is no longer always there",
    ),
    (
        "a field of an event may be null",
        lambda new: field(new, "OrderPaid", "currency").update(anyOf=[{"type": "string"}, {"type": "null"}]),
        "breaks readers: orders.order-paid.data.currency: is null, not string",
    ),
    (
        "an outcome's field has another type",
        lambda new: field(new, "Accepted", "version").update(type="string"),
        "breaks readers: command.accepted.data.version: is string, not integer",
    ),
]

HARMLESS: list[tuple[str, Change]] = [
    (
        "an optional field of a command",
        lambda new: schemas(new, "PayOrder")["properties"].update(note={"type": "string"}),
    ),
    ("a bound is loosened", lambda new: schemas(new, "PlaceOrder")["properties"]["lines"].update(maxItems=5000)),
    ("a field of an event", lambda new: schemas(new, "OrderPaid")["properties"].update(note={"type": "string"})),
    ("a field of an event is always there now", lambda new: schemas(new, "OrderPaid")["required"].append("method")),
    (
        "another command and another event",
        lambda new: [
            new["channels"][channel]["messages"].update(
                {"orders.new": {"$ref": "#/components/messages/orders.pay-order"}}
            )
            for channel in ("commands", "events")
        ],
    ),
]


def changed(change: Change) -> dict[str, Any]:
    new = deepcopy(document())
    change(new)
    return new


@pytest.mark.parametrize(("change", "finding"), [one[1:] for one in BREAKING], ids=[one[0] for one in BREAKING])
def test_a_change_that_breaks_somebody_is_named_with_its_place(change: Change, finding: str) -> None:
    assert [str(one) for one in breaking_changes(document(), changed(change))] == [finding]


@pytest.mark.parametrize("change", [one[1] for one in HARMLESS], ids=[one[0] for one in HARMLESS])
def test_a_change_that_breaks_nobody_is_not_named(change: Change) -> None:
    assert breaking_changes(document(), changed(change)) == []


def test_what_the_last_release_promised_still_holds() -> None:
    assert [str(one) for one in breaking_changes(json.loads(RELEASED.read_text()), document())] == []
