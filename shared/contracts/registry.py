"""Which class stands behind a message's type, and how an old event becomes a current one.

Commands are found by type; events by (type, schema version). An event of an older schema version is lifted step by step
by its upcasters, on plain JSON, before its class is built: projections and ``evolve`` only ever see the current shape.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from shared.contracts import catalog, customers, orders, refusals
from shared.contracts.refusals import Refusal
from shared.contracts.values import CommandData, EventData

Upcaster = Callable[[Mapping[str, Any]], dict[str, Any]]


class UnknownEventError(LookupError):
    """No class, or no path of upcasters, for this event type and schema version."""


COMMANDS: Final[Mapping[str, type[CommandData]]] = {
    "orders.place-order": orders.PlaceOrder,
    "orders.pay-order": orders.PayOrder,
    "orders.ship-order": orders.ShipOrder,
    "orders.deliver-order": orders.DeliverOrder,
    "orders.cancel-order": orders.CancelOrder,
    "catalog.create-product": catalog.CreateProduct,
    "catalog.change-price": catalog.ChangePrice,
    "catalog.update-product": catalog.UpdateProduct,
    "catalog.receive-stock": catalog.ReceiveStock,
    "catalog.add-review": catalog.AddReview,
    "customers.register-customer": customers.RegisterCustomer,
    "customers.rename-customer": customers.RenameCustomer,
    "customers.change-email": customers.ChangeEmail,
}

REFUSALS: Final[Mapping[str, Refusal]] = {
    **refusals.REFUSALS,
    **orders.REFUSALS,
    **catalog.REFUSALS,
    **customers.REFUSALS,
}
"""Every code of a ``command.rejected``."""

EVENTS: Final[Mapping[type[EventData], tuple[str, int]]] = {
    orders.OrderPlaced: ("orders.order-placed", 2),
    orders.OrderPaid: ("orders.order-paid", 1),
    orders.OrderShipped: ("orders.order-shipped", 1),
    orders.OrderDelivered: ("orders.order-delivered", 1),
    orders.OrderCancelled: ("orders.order-cancelled", 1),
    catalog.ProductCreated: ("catalog.product-created", 1),
    catalog.PriceChanged: ("catalog.price-changed", 1),
    catalog.ProductUpdated: ("catalog.product-updated", 1),
    catalog.StockReceived: ("catalog.stock-received", 1),
    catalog.ReviewAdded: ("catalog.review-added", 1),
    customers.CustomerRegistered: ("customers.customer-registered", 1),
    customers.CustomerRenamed: ("customers.customer-renamed", 1),
    customers.EmailChanged: ("customers.email-changed", 1),
}
"""Each event class, its wire type, and the schema version that is written today."""

_CURRENT: Final = {name: (version, cls) for cls, (name, version) in EVENTS.items()}


def _order_placed_1_to_2(data: Mapping[str, Any]) -> dict[str, Any]:
    """Version 1 left the sums to its readers; version 2 carries ``item_count`` and ``total``."""
    lines = data["lines"]
    return {
        **data,
        "item_count": sum(line["quantity"] for line in lines),
        "total": sum(line["amount"] for line in lines),
    }


UPCASTERS: Final[Mapping[tuple[str, int], Upcaster]] = {("orders.order-placed", 1): _order_placed_1_to_2}
"""(event type, schema version) → what turns its data into that of the next schema version."""


def event_data(event_type: str, schema_version: int, data: Mapping[str, Any]) -> EventData:
    """The event's data in its current class, lifted over as many schema versions as it takes.

    Raises UnknownEventError for a type or version nobody declared, msgspec.ValidationError for data that does not fit.
    """
    try:
        current, cls = _CURRENT[event_type]
    except KeyError as error:
        raise UnknownEventError(f"unknown event type {event_type!r}") from error
    for version in range(schema_version, current):
        upcast = UPCASTERS.get((event_type, version))
        if upcast is None:
            raise UnknownEventError(f"no upcaster for {event_type!r} from schema version {version}")
        data = upcast(data)
    if schema_version > current:
        raise UnknownEventError(f"{event_type!r} has schema version {schema_version}; the newest known is {current}")
    try:
        return msgspec.convert(data, cls)
    except msgspec.ValidationError as error:  # which says where in the data, and not of what
        raise msgspec.ValidationError(f"{cls.__name__}: {error}") from error
