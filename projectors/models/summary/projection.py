"""The summary's pure projection: every event becomes a history row, and most change one document.

    event ──▶ history row, and by RULES ──▶ a new document | fields of a document that change | a price

A document is the JSON of its view in ``shared.views.summary``. Every change follows from its event alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from projectors.stores.folding import Fields, Rows, each_event
from projectors.stores.port import Advance, Event
from shared.contracts import catalog, customers, orders
from shared.contracts.orders import OrderStatus
from shared.contracts.values import EventData


class HistoryRow(NamedTuple):
    """A row of ``history``."""

    stream: str
    version: int
    type: str
    at: datetime
    data: EventData


class PriceRow(NamedTuple):
    """A row of ``price_history``."""

    product_id: str
    version: int
    price: int
    currency: str
    at: datetime


@dataclass(slots=True)
class Changes:
    """All changes of a batch."""

    orders: Rows = field(default_factory=Rows)
    customers: Rows = field(default_factory=Rows)
    products: Rows = field(default_factory=Rows)
    history: list[HistoryRow] = field(default_factory=list)
    prices: list[PriceRow] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Rule:
    """The effect of one type of event: the table of its document, the fields with the document's id and the business time, the changes."""

    table: str
    key: str
    at: str
    fields: Callable[[Any], Fields]
    creates: bool = False


def fold(advances: Sequence[Advance]) -> Changes:
    """Raises ProjectionError."""
    changes = Changes()
    each_event(advances, lambda event: _apply(changes, event))
    return changes


def evolve(document: Fields, event: Event) -> Fields:
    """The document after the event; given an empty document, the fields that the event sets."""
    rule = RULES[type(event.data)]
    changed = rule.fields(event.data)
    return {**document, **changed, "updated_at": getattr(event.data, rule.at), "version": event.version}


def _apply(changes: Changes, event: Event) -> None:
    data = event.data
    rule = RULES.get(type(data))
    at = event.time if rule is None else getattr(data, rule.at)
    changes.history.append(HistoryRow(event.stream, event.version, event.type, at, data))
    if rule is None:
        return
    rows: Rows = getattr(changes, rule.table)
    if rule.creates:
        rows.create(getattr(data, rule.key), evolve({}, event))
    else:
        rows.change(getattr(data, rule.key), evolve({}, event), event)
    if isinstance(data, catalog.ProductCreated | catalog.PriceChanged):
        changes.prices.append(PriceRow(data.product_id, event.version, data.price, data.currency, at))


def _order_placed(data: orders.OrderPlaced) -> Fields:
    return {
        "order_id": data.order_id,
        "customer_id": data.customer_id,
        "status": OrderStatus.PLACED.value,
        "currency": data.currency,
        "item_count": data.item_count,
        "total": data.total,
        "lines": data.lines,
        "placed_at": data.placed_at,
        "paid_at": None,
        "paid_amount": None,
        "shipped_at": None,
        "carrier": None,
        "tracking": None,
        "delivered_at": None,
        "cancelled_at": None,
        "cancellation_reason": None,
    }


def _order_paid(data: orders.OrderPaid) -> Fields:
    return {"status": OrderStatus.PAID.value, "paid_at": data.paid_at, "paid_amount": data.amount}


def _order_shipped(data: orders.OrderShipped) -> Fields:
    return {
        "status": OrderStatus.SHIPPED.value,
        "shipped_at": data.shipped_at,
        "carrier": data.carrier,
        "tracking": data.tracking,
    }


def _order_delivered(data: orders.OrderDelivered) -> Fields:
    return {"status": OrderStatus.DELIVERED.value, "delivered_at": data.delivered_at}


def _order_cancelled(data: orders.OrderCancelled) -> Fields:
    return {
        "status": OrderStatus.CANCELLED.value,
        "cancelled_at": data.cancelled_at,
        "cancellation_reason": data.reason,
    }


def _product_created(data: catalog.ProductCreated) -> Fields:
    return {
        "product_id": data.product_id,
        "name": data.name,
        "description": data.description,
        "category": data.category,
        "brand": data.brand,
        "price": data.price,
        "currency": data.currency,
        "variants": data.variants,
        "stock": 0,
        "rating_average": None,
        "review_count": 0,
    }


def _price_changed(data: catalog.PriceChanged) -> Fields:
    return {"price": data.price, "currency": data.currency}


def _product_updated(data: catalog.ProductUpdated) -> Fields:
    return {"name": data.name, "description": data.description, "category": data.category, "brand": data.brand}


def _stock_received(data: catalog.StockReceived) -> Fields:
    return {"stock": data.stock}


def _review_added(data: catalog.ReviewAdded) -> Fields:
    return {"rating_average": round(data.rating_sum / data.review_count, 2), "review_count": data.review_count}


def _customer_registered(data: customers.CustomerRegistered) -> Fields:
    return {
        "customer_id": data.customer_id,
        "name": data.name,
        "email": data.email,
        "registered_at": data.registered_at,
    }


def _customer_renamed(data: customers.CustomerRenamed) -> Fields:
    return {"name": data.name}


def _email_changed(data: customers.EmailChanged) -> Fields:
    return {"email": data.email}


RULES: Final[Mapping[type[EventData], Rule]] = {
    orders.OrderPlaced: Rule("orders", "order_id", "placed_at", _order_placed, creates=True),
    orders.OrderPaid: Rule("orders", "order_id", "paid_at", _order_paid),
    orders.OrderShipped: Rule("orders", "order_id", "shipped_at", _order_shipped),
    orders.OrderDelivered: Rule("orders", "order_id", "delivered_at", _order_delivered),
    orders.OrderCancelled: Rule("orders", "order_id", "cancelled_at", _order_cancelled),
    catalog.ProductCreated: Rule("products", "product_id", "created_at", _product_created, creates=True),
    catalog.PriceChanged: Rule("products", "product_id", "changed_at", _price_changed),
    catalog.ProductUpdated: Rule("products", "product_id", "updated_at", _product_updated),
    catalog.StockReceived: Rule("products", "product_id", "received_at", _stock_received),
    catalog.ReviewAdded: Rule("products", "product_id", "added_at", _review_added),
    customers.CustomerRegistered: Rule("customers", "customer_id", "registered_at", _customer_registered, creates=True),
    customers.CustomerRenamed: Rule("customers", "customer_id", "renamed_at", _customer_renamed),
    customers.EmailChanged: Rule("customers", "customer_id", "changed_at", _email_changed),
}
"""Every type of event that changes a document. Any other event becomes a history row only."""
