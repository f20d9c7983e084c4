"""Orders: the commands a sender may give and the events they lead to. Money is in minor units of ``currency``."""

from typing import Annotated, Self

from pydantic import ConfigDict, Field, SerializeAsAny, model_validator

from shared.contracts.values import (
    MAX_AMOUNT,
    Amount,
    CommandData,
    Currency,
    EventData,
    Id,
    Label,
    Name,
    Quantity,
    Text,
    Timestamp,
)


class Line(EventData):
    """One line, as events carry it: ``amount`` is the line's total in minor units, not the price of one."""

    product_id: str
    name: str | None = None
    quantity: int
    amount: int


class OrderLine(Line):
    """One line, as a command gives it: the same, with what it may be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    product_id: Id
    name: Name | None = None
    quantity: Quantity
    amount: Amount


class PlaceOrder(CommandData):
    order_id: Id
    customer_id: Id
    currency: Currency
    lines: Annotated[tuple[OrderLine, ...], Field(min_length=1, max_length=1000)]
    placed_at: Timestamp | None = None

    @model_validator(mode="after")
    def _total_is_exact(self) -> Self:
        if sum(line.amount for line in self.lines) > MAX_AMOUNT:
            raise ValueError(f"the order's total is above {MAX_AMOUNT}")
        return self


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


class OrderPlaced(EventData):
    order_id: str
    customer_id: str
    currency: str
    lines: tuple[SerializeAsAny[Line], ...]
    item_count: int
    """Units, summed over the lines."""
    total: int
    placed_at: Timestamp


class OrderPaid(EventData):
    order_id: str
    customer_id: str
    amount: int
    currency: str
    method: str | None = None
    paid_at: Timestamp


class OrderShipped(EventData):
    order_id: str
    carrier: str | None = None
    tracking: str | None = None
    shipped_at: Timestamp


class OrderDelivered(EventData):
    order_id: str
    delivered_at: Timestamp


class OrderCancelled(EventData):
    """Carries the whole order, so that a reader can take it back out of its figures without asking."""

    order_id: str
    customer_id: str
    currency: str
    lines: tuple[SerializeAsAny[Line], ...]
    item_count: int
    total: int
    placed_at: Timestamp
    reason: str
    cancelled_at: Timestamp
