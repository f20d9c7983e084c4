"""The summary's documents, written by the projector and returned by the query service. Money in minor units.

Tables: ``orders``, ``history``, ``customers``, ``products``, ``price_history``, ``baskets``, ``payments``
(``projectors/models/summary/migrations``). ``doc`` holds the fields below, except those marked *borrowed*: they belong to other streams
and are joined when read.
"""

from datetime import datetime
from typing import Any

from pydantic import BaseModel

from shared.contracts.orders import OrderStatus
from shared.contracts.payments import PaymentStatus


class OrderLineView(BaseModel):
    product_id: str
    name: str | None = None
    """The line's own name, else *borrowed* from the product."""
    quantity: int
    amount: int
    category: str | None = None
    """The product's category when the order was placed; absent if it was unknown."""


class OrderDocument(BaseModel):
    """The content of ``orders.doc``."""

    order_id: str
    customer_id: str
    status: OrderStatus
    currency: str
    item_count: int
    total: int
    lines: list[OrderLineView]
    placed_at: datetime
    region: str | None = None
    """The customer's region when the order was placed; absent if it was unknown."""
    fulfilment: str | None = None
    """``managed``: the process ``fulfilment`` moves the order. Absent, as ``confirmed_at`` is, if it is not."""
    updated_at: datetime
    confirmed_at: datetime | None = None
    paid_at: datetime | None = None
    paid_amount: int | None = None
    shipped_at: datetime | None = None
    carrier: str | None = None
    tracking: str | None = None
    delivered_at: datetime | None = None
    cancelled_at: datetime | None = None
    cancellation_reason: str | None = None
    version: int


class HeldView(BaseModel):
    """Why a later event of this stream is not in the view yet."""

    status: str
    """``gap``: it is being fetched; ``retrying``: it failed and is retried; ``dead``: an operator has to act."""
    version: int
    """The version that the view waits for."""
    reason: str
    since: datetime


class OrderView(OrderDocument):
    customer_name: str | None = None
    """*Borrowed* from the customer."""
    held: HeldView | None = None
    """Set while this view holds the order's stream."""


class OrderSummary(BaseModel):
    """An order in a list: without its lines."""

    order_id: str
    customer_id: str
    customer_name: str | None
    status: OrderStatus
    currency: str
    item_count: int
    total: int
    placed_at: datetime
    updated_at: datetime
    version: int


class HistoryEntry(BaseModel):
    version: int
    type: str
    at: datetime
    actor: str | None = None
    """Who requested it, as the sender of the command says; null: it named nobody."""
    data: dict[str, Any]


class CustomerView(BaseModel):
    """The content of ``customers.doc``."""

    customer_id: str
    name: str
    email: str | None = None
    region: str | None = None
    registered_at: datetime
    updated_at: datetime
    version: int


class VariantView(BaseModel):
    sku: str
    size: str | None = None
    colour: str | None = None


class ProductDocument(BaseModel):
    """The content of ``products.doc``. Once something has been reserved of the product, also ``reserved``."""

    product_id: str
    name: str
    description: str | None = None
    category: str
    brand: str | None = None
    price: int
    currency: str
    variants: list[VariantView] = []
    stock: int = 0
    """Units that are physically there."""
    rating_average: float | None = None
    """Rounded to two decimals; null without reviews."""
    review_count: int = 0
    updated_at: datetime
    version: int


class ProductView(ProductDocument):
    reserved: int
    """Units in open reservations."""
    available: int
    """``stock`` less ``reserved``; derived when it is read."""


class PaymentView(BaseModel):
    """The content of ``payments.doc``. Money in minor units."""

    payment_id: str
    order_id: str
    status: PaymentStatus
    amount: int
    currency: str
    refunded: int
    """All refunds so far; at most ``amount``, and 0 unless it is captured."""
    failure_reason: str | None = None
    requested_at: datetime
    captured_at: datetime | None = None
    failed_at: datetime | None = None
    updated_at: datetime
    version: int


class PricePoint(BaseModel):
    version: int
    price: int
    currency: str
    at: datetime
