"""The search index's pure projection: products, customers' names, orders by their lines, and doctors.

A row's ``terms`` are its words as a ``tsvector``; ``shared.views.search_text`` splits text into words.

An order is indexed once, when it is placed; later events change its status and never its words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from projectors.stores.folding import Fields, Rows, each_event
from projectors.stores.port import Advance, Event
from shared.contracts import bookings, catalog, customers, orders
from shared.contracts.orders import OrderStatus
from shared.contracts.values import EventData
from shared.privacy.marks import ERASED
from shared.views.search_text import Weight, vector


@dataclass(slots=True)
class Changes:
    """All changes of a batch: rows by table, fields by column."""

    products: Rows = field(default_factory=Rows)
    customers: Rows = field(default_factory=Rows)
    orders: Rows = field(default_factory=Rows)
    doctors: Rows = field(default_factory=Rows)


STATUS_AFTER: Final[Mapping[type[EventData], OrderStatus]] = {
    orders.OrderPaid: OrderStatus.PAID,
    orders.OrderConfirmed: OrderStatus.CONFIRMED,
    orders.OrderShipped: OrderStatus.SHIPPED,
    orders.OrderDelivered: OrderStatus.DELIVERED,
    orders.OrderCancelled: OrderStatus.CANCELLED,
}


def fold(advances: Sequence[Advance]) -> Changes:
    """Raises ProjectionError."""
    changes = Changes()
    each_event(advances, lambda event: _apply(changes, event))
    return changes


def _apply(changes: Changes, event: Event) -> None:
    data: Any = event.data
    version: Fields = {"version": event.version}
    match data:
        case orders.OrderPlaced():
            changes.orders.create(data.order_id, _order(data) | version)
        case (
            orders.OrderPaid()
            | orders.OrderConfirmed()
            | orders.OrderShipped()
            | orders.OrderDelivered()
            | orders.OrderCancelled()
        ):
            changes.orders.change(data.order_id, {"status": STATUS_AFTER[type(data)].value} | version, event)
        case catalog.ProductCreated():
            changes.products.create(data.product_id, _product(data) | version)
        case catalog.ProductUpdated():
            changes.products.change(data.product_id, _text(data) | version, event)
        case catalog.PriceChanged():
            price = {"price": data.price, "currency": data.currency}
            changes.products.change(data.product_id, price | version, event)
        case catalog.StockReceived():
            available = data.stock - (data.reserved or 0)
            changes.products.change(data.product_id, {"available": available} | version, event)
        case catalog.StockReserved() | catalog.StockReleased() | catalog.StockConsumed():
            available = data.stock - data.reserved
            changes.products.change(data.product_id, {"available": available} | version, event)
        case catalog.ReviewAdded():
            changes.products.change(data.product_id, _rating(data) | version, event)
        case customers.CustomerRegistered():
            changes.customers.create(data.customer_id, _named(data) | version)
        case customers.CustomerRenamed():
            changes.customers.change(data.customer_id, _named(data) | version, event)
        case customers.EmailChanged() | customers.RegionChanged():
            changes.customers.change(data.customer_id, version, event)
        case bookings.DoctorRegistered():
            changes.doctors.create(data.doctor_id, _doctor(data) | {"time_zone": data.time_zone} | version)
        case bookings.DoctorRenamed():
            changes.doctors.change(data.doctor_id, _doctor(data) | version, event)
        case _:
            pass  # contains nothing that can be searched


def _order(data: orders.OrderPlaced) -> Fields:
    names = dict.fromkeys(line.name for line in data.lines if line.name)
    lines: list[tuple[str | None, Weight]] = [(name, "B") for name in names]
    return {
        "customer_id": data.customer_id,
        "status": OrderStatus.PLACED.value,
        "currency": data.currency,
        "item_count": data.item_count,
        "total": data.total,
        "placed_at": data.placed_at,
        "unnamed": list(dict.fromkeys(line.product_id for line in data.lines if not line.name)),
        "terms": vector((data.order_id, "A"), (data.customer_id, "C"), *lines),
    }


def _product(data: catalog.ProductCreated) -> Fields:
    facts = {"created_at": data.created_at, "available": 0, "review_count": 0, "rating_average": None}
    return _text(data) | {"price": data.price, "currency": data.currency} | facts


def _rating(data: catalog.ReviewAdded) -> Fields:
    return {"review_count": data.review_count, "rating_average": round(data.rating_sum / data.review_count, 2)}


def _text(data: catalog.ProductCreated | catalog.ProductUpdated) -> Fields:
    """The product's text fields and the terms made of them: name weighs more than brand and category, those more than description."""
    return {
        "name": data.name,
        "description": data.description,
        "category": data.category,
        "brand": data.brand,
        "terms": vector((data.name, "A"), (data.brand, "B"), (data.category, "B"), (data.description, "C")),
    }


def _doctor(data: bookings.DoctorRegistered | bookings.DoctorRenamed) -> Fields:
    return {"name": data.name, "speciality": data.speciality, "terms": doctor_terms(data.name, data.speciality)}


def doctor_terms(name: str, speciality: str | None) -> str:
    return vector((_searchable(name), "A"), (speciality, "B"))


def _named(data: customers.CustomerRegistered | customers.CustomerRenamed) -> Fields:
    return {"name": data.name, "terms": vector((_searchable(data.name), "D"))}


def _searchable(name: str) -> str | None:
    """Nobody is found by the erased form."""
    return None if name == ERASED else name
