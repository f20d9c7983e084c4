"""Orders: their commands and the resulting events. Money is in minor units of ``currency``."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

from msgspec import UNSET
from pydantic import AfterValidator, Field, model_validator

from shared.contracts.refusals import Refusal, Retry
from shared.contracts.values import (
    MAX_AMOUNT,
    MAX_MESSAGE_BYTES,
    Amount,
    CommandData,
    Count,
    Currency,
    EventData,
    EventPart,
    EventTime,
    Fact,
    Id,
    Label,
    Name,
    Quantity,
    Text,
    Timestamp,
    Upcaster,
)

MAX_LINES: Final = 5000
"""Of one order. Its command has to fit into a message of MAX_MESSAGE_BYTES as well."""
MAX_MANAGED_ID: Final = 100
"""Characters in the id of a managed order: the id of its payment is longer."""
MANAGED: Final = "managed"


class OrderStatus(StrEnum):
    """placed → paid → shipped → delivered; cancelled before it is shipped. A managed order is confirmed instead of paid."""

    PLACED = "placed"
    PAID = "paid"
    CONFIRMED = "confirmed"
    """Its products are reserved and its payment is captured."""
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"


class Line(EventPart, frozen=True, kw_only=True):
    """An order line in events: ``amount`` is the line's total in minor units, not the unit price."""

    product_id: str
    name: str | None = None
    quantity: int
    amount: int
    category: Fact = UNSET
    """The product's category when the order was placed."""


class OrderLine(CommandData):
    """An order line in commands: the same fields, with validation."""

    product_id: Id
    name: Name | None = None
    quantity: Quantity
    amount: Amount


def _total_is_exact(lines: tuple[OrderLine, ...]) -> tuple[OrderLine, ...]:
    if sum(line.amount for line in lines) > MAX_AMOUNT:
        raise ValueError(f"the amounts come to a total above {MAX_AMOUNT}")
    return lines


class PlaceOrder(CommandData):
    order_id: Id
    customer_id: Id
    currency: Currency
    lines: Annotated[
        tuple[OrderLine, ...],
        Count(1, MAX_LINES, MAX_MESSAGE_BYTES),
        AfterValidator(_total_is_exact),
        Field(description=f"At most {MAX_LINES}, in a message of at most {MAX_MESSAGE_BYTES} bytes."),
    ]
    placed_at: Timestamp | None = None
    fulfilment: Literal["managed"] | None = Field(
        default=None,
        description="managed: the process `fulfilment` reserves its products, requests its payment and confirms it, or cancels it;"
        f" its id has at most {MAX_MANAGED_ID} characters.",
    )

    @model_validator(mode="after")
    def _a_managed_id_is_short(self) -> Self:
        if self.fulfilment is not None and len(self.order_id) > MAX_MANAGED_ID:
            raise ValueError(f"the order_id of a managed order has at most {MAX_MANAGED_ID} characters")
        return self


class ConfirmOrder(CommandData):
    """Of a managed order only, instead of a payment."""

    at: Timestamp | None = None


class PayOrder(CommandData):
    amount: Amount
    method: Label | None = None
    at: Timestamp | None = None


class ShipOrder(CommandData):
    carrier: Label | None = None
    tracking: Label | None = None
    at: Timestamp | None = None


class DeliverOrder(CommandData):
    at: Timestamp | None = None


class CancelOrder(CommandData):
    reason: Annotated[Text, Field(min_length=1)]
    at: Timestamp | None = None


class OrderPlaced(EventData, frozen=True, kw_only=True):
    order_id: str
    customer_id: str
    currency: str
    lines: tuple[Line, ...]
    item_count: int
    """Units, summed over the lines."""
    total: int
    placed_at: EventTime
    region: Fact = UNSET
    """The customer's region when the order was placed."""
    fulfilment: Fact = UNSET
    """``managed``, or unknown: nothing but commands moves this order."""


class OrderConfirmed(EventData, frozen=True, kw_only=True):
    order_id: str
    customer_id: str
    fulfilment: Fact = UNSET
    confirmed_at: EventTime


class OrderPaid(EventData, frozen=True, kw_only=True):
    order_id: str
    customer_id: str
    amount: int
    currency: str
    method: str | None = None
    paid_at: EventTime


class OrderShipped(EventData, frozen=True, kw_only=True):
    order_id: str
    carrier: str | None = None
    tracking: str | None = None
    shipped_at: EventTime
    fulfilment: Fact = UNSET


class OrderDelivered(EventData, frozen=True, kw_only=True):
    order_id: str
    delivered_at: EventTime


class OrderCancelled(EventData, frozen=True, kw_only=True):
    """Carries the whole order, region and categories included, so that a projection can subtract it from its figures without a lookup."""

    order_id: str
    customer_id: str
    currency: str
    lines: tuple[Line, ...]
    item_count: int
    total: int
    placed_at: EventTime
    region: Fact = UNSET
    fulfilment: Fact = UNSET
    reason: str
    cancelled_at: EventTime


KINDS: Final = ("orders",)
"""The stream kinds of these events; a stream is ``<kind>/<id>``."""

COMMANDS: Final[Mapping[str, type[CommandData]]] = {
    "orders.place-order": PlaceOrder,
    "orders.pay-order": PayOrder,
    "orders.confirm-order": ConfirmOrder,
    "orders.ship-order": ShipOrder,
    "orders.deliver-order": DeliverOrder,
    "orders.cancel-order": CancelOrder,
}

EVENTS: Final[Mapping[type[EventData], tuple[str, int]]] = {
    OrderPlaced: ("orders.order-placed", 2),
    OrderPaid: ("orders.order-paid", 1),
    OrderConfirmed: ("orders.order-confirmed", 1),
    OrderShipped: ("orders.order-shipped", 1),
    OrderDelivered: ("orders.order-delivered", 1),
    OrderCancelled: ("orders.order-cancelled", 1),
}
"""Event class → its type in messages, and the current schema version."""


def _order_placed_1_to_2(data: Mapping[str, Any]) -> dict[str, Any]:
    """Version 1 left the sums to its readers; version 2 has ``item_count`` and ``total``."""
    lines = data["lines"]
    return {
        **data,
        "item_count": sum(line["quantity"] for line in lines),
        "total": sum(line["amount"] for line in lines),
    }


UPCASTERS: Final[Mapping[tuple[str, int], Upcaster]] = {("orders.order-placed", 1): _order_placed_1_to_2}
"""(event type, schema version) → the function that converts its data to the next schema version."""

REFUSALS: Final[Mapping[str, Refusal]] = {
    "order-already-placed": Refusal("There is an order with this id.", Retry.NEW_ID),
    "order-not-found": Refusal("There is no order with this id, or not yet.", Retry.NEW_ID),
    "invalid-transition": Refusal("The order's status does not allow it.", Retry.NEW_ID),
    "payment-mismatch": Refusal("The amount is not the order's total.", Retry.NEW_ID),
    "order-in-the-future": Refusal("`placed_at` is more than a day ahead of the service's clock.", Retry.NEW_ID),
    "order-managed": Refusal(
        "The order is managed: its process pays for it, and it is confirmed instead.", Retry.NEW_ID
    ),
    "order-not-managed": Refusal("Only a managed order can be confirmed; this one is paid.", Retry.NEW_ID),
}
