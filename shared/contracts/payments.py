"""Payments: what is requested for an order, captured by a payment provider, and refunded. Money is in minor units of ``currency``.

requested → captured | failed. Of a captured payment, up to the captured amount can be refunded, in one refund or several.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from shared.contracts.laws import Law, Totals
from shared.contracts.orders import OrderCancelled
from shared.contracts.refusals import Refusal, Retry
from shared.contracts.values import Amount, CommandData, Currency, EventData, EventTime, Id, Text, Upcaster


class PaymentStatus(StrEnum):
    REQUESTED = "requested"
    CAPTURED = "captured"
    FAILED = "failed"


class RequestPayment(CommandData):
    payment_id: Id
    order_id: Id
    amount: Amount
    currency: Currency


class CapturePayment(CommandData):
    """The provider has the whole amount."""


class FailPayment(CommandData):
    """There will be no money."""

    reason: Annotated[Text, Field(min_length=1)]


class RefundPayment(CommandData):
    amount: Annotated[Amount, Field(gt=0)]


class PaymentRequested(EventData, frozen=True, kw_only=True):
    payment_id: str
    order_id: str
    amount: int
    currency: str
    requested_at: EventTime


class PaymentCaptured(EventData, frozen=True, kw_only=True):
    payment_id: str
    order_id: str
    amount: int
    currency: str
    captured_at: EventTime


class PaymentFailed(EventData, frozen=True, kw_only=True):
    payment_id: str
    order_id: str
    reason: str
    failed_at: EventTime


class PaymentRefunded(EventData, frozen=True, kw_only=True):
    payment_id: str
    order_id: str
    amount: int
    refunded: int
    """All refunds so far, this one included."""
    currency: str
    refunded_at: EventTime


KINDS: Final = ("payments",)
"""The stream kinds of these events; a stream is ``<kind>/<id>``."""

COMMANDS: Final[Mapping[str, type[CommandData]]] = {
    "payments.request-payment": RequestPayment,
    "payments.capture-payment": CapturePayment,
    "payments.fail-payment": FailPayment,
    "payments.refund-payment": RefundPayment,
}

EVENTS: Final[Mapping[type[EventData], tuple[str, int]]] = {
    PaymentRequested: ("payments.payment-requested", 1),
    PaymentCaptured: ("payments.payment-captured", 1),
    PaymentFailed: ("payments.payment-failed", 1),
    PaymentRefunded: ("payments.payment-refunded", 1),
}
"""Event class → its type in messages, and the current schema version."""

UPCASTERS: Final[Mapping[tuple[str, int], Upcaster]] = {}

REFUSALS: Final[Mapping[str, Refusal]] = {
    "payment-already-requested": Refusal("There is a payment with this id.", Retry.NEW_ID),
    "payment-not-found": Refusal("There is no payment with this id, or not yet.", Retry.NEW_ID),
    "payment-settled": Refusal("The payment has been captured already, or has failed.", Retry.NEW_ID),
    "payment-not-captured": Refusal("Only a captured payment can be refunded.", Retry.NEW_ID),
    "refund-exceeded": Refusal("The refunds would come to more than was captured.", Retry.NEW_ID),
}


def _money_amounts(event: EventData) -> tuple[str, Totals]:
    match event:
        case PaymentCaptured():
            return event.order_id, {"captured": event.amount}
        case PaymentRefunded():
            return event.order_id, {"refunded": event.amount}
        case OrderCancelled():
            return event.order_id, {"cancelled": 1}
        case _:
            raise TypeError(f"{type(event).__name__} says nothing of money")


def _kept(totals: Totals) -> str | None:
    captured, refunded = totals.get("captured", 0), totals.get("refunded", 0)
    if refunded > captured:
        return f"{refunded} is refunded of {captured} that was captured"
    if totals.get("cancelled") and captured > refunded:
        return (
            f"the order is cancelled, and of {captured} that was captured for it {captured - refunded} is not refunded"
        )
    return None


LAWS: Final = (
    Law(
        name="cancelled-orders-are-refunded",
        statement="What was captured for an order that is cancelled is refunded, and no more than that.",
        kind="orders",
        events=frozenset({PaymentCaptured, PaymentRefunded, OrderCancelled}),
        amounts=_money_amounts,
        broken=_kept,
    ),
)
