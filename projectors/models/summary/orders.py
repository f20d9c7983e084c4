"""Orders in the summary: a document of each."""

from typing import Final

from msgspec import UNSET

from projectors.models.summary.documents import Documents, Rule, known
from projectors.stores.folding import Fields
from shared.contracts.orders import (
    OrderCancelled,
    OrderConfirmed,
    OrderDelivered,
    OrderPaid,
    OrderPlaced,
    OrderShipped,
    OrderStatus,
)

CREATE_ORDERS: Final = """
INSERT INTO orders (
    order_id, customer_id, status, currency, item_count, total, placed_at, updated_at, version, doc
)
SELECT * FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::timestamptz[], $8::timestamptz[],
    $9::bigint[], $10::json[]
)
ON CONFLICT (order_id) DO UPDATE SET
    customer_id = excluded.customer_id,
    status = excluded.status,
    currency = excluded.currency,
    item_count = excluded.item_count,
    total = excluded.total,
    placed_at = excluded.placed_at,
    updated_at = excluded.updated_at,
    version = excluded.version,
    doc = excluded.doc
"""

# Columns that no event changes after an order is placed (customer, currency, items, total, placed_at) are left out.
CHANGE_ORDERS: Final = """
UPDATE orders SET
    status = coalesce(fields ->> 'status', orders.status),
    updated_at = (fields ->> 'updated_at')::timestamptz,
    version = (fields ->> 'version')::bigint,
    doc = (doc::jsonb || fields)::json
FROM unnest($1::text[], $2::jsonb[]) AS changed (order_id, fields)
WHERE orders.order_id = changed.order_id
RETURNING orders.order_id
"""


def _order_placed(data: OrderPlaced) -> Fields:
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
        **known({"region": data.region}),
        **({} if data.fulfilment is UNSET else {"fulfilment": data.fulfilment, "confirmed_at": None}),
    }


def _order_paid(data: OrderPaid) -> Fields:
    return {"status": OrderStatus.PAID.value, "paid_at": data.paid_at, "paid_amount": data.amount}


def _order_confirmed(data: OrderConfirmed) -> Fields:
    return {"status": OrderStatus.CONFIRMED.value, "confirmed_at": data.confirmed_at}


def _order_shipped(data: OrderShipped) -> Fields:
    return {
        "status": OrderStatus.SHIPPED.value,
        "shipped_at": data.shipped_at,
        "carrier": data.carrier,
        "tracking": data.tracking,
    }


def _order_delivered(data: OrderDelivered) -> Fields:
    return {"status": OrderStatus.DELIVERED.value, "delivered_at": data.delivered_at}


def _order_cancelled(data: OrderCancelled) -> Fields:
    return {
        "status": OrderStatus.CANCELLED.value,
        "cancelled_at": data.cancelled_at,
        "cancellation_reason": data.reason,
    }


DOCUMENTS: Final = Documents(
    name="orders",
    columns=(
        "order_id",
        "customer_id",
        "status",
        "currency",
        "item_count",
        "total",
        "placed_at",
        "updated_at",
        "version",
    ),
    create=CREATE_ORDERS,
    change=CHANGE_ORDERS,
    rules={
        OrderPlaced: Rule("placed_at", _order_placed, creates=True),
        OrderPaid: Rule("paid_at", _order_paid),
        OrderConfirmed: Rule("confirmed_at", _order_confirmed),
        OrderShipped: Rule("shipped_at", _order_shipped),
        OrderDelivered: Rule("delivered_at", _order_delivered),
        OrderCancelled: Rule("cancelled_at", _order_cancelled),
    },
)
