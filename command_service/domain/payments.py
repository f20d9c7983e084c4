"""A payment: requested → captured | failed; of a captured one, up to the captured amount is refunded.

Refusals: payment-already-requested, payment-not-found, payment-settled, payment-not-captured, refund-exceeded.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, assert_never

from msgspec.structs import replace

from command_service.domain.aggregate import Aggregate, Refused, State
from shared.contracts.payments import (
    CapturePayment,
    FailPayment,
    PaymentCaptured,
    PaymentFailed,
    PaymentRefunded,
    PaymentRequested,
    PaymentStatus,
    RefundPayment,
    RequestPayment,
)

Command = RequestPayment | CapturePayment | FailPayment | RefundPayment
Event = PaymentRequested | PaymentCaptured | PaymentFailed | PaymentRefunded


class Payment(State, frozen=True, kw_only=True):
    status: PaymentStatus
    payment_id: str
    order_id: str
    amount: int
    currency: str
    refunded: int = 0


def decide(payment: Payment | None, command: Command, now: datetime) -> Sequence[Event]:
    if isinstance(command, RequestPayment):
        if payment is not None:
            raise Refused("payment-already-requested", f"payment {command.payment_id} has already been requested")
        return [PaymentRequested(**dict(command), requested_at=now)]
    if payment is None:
        raise Refused("payment-not-found", "there is no such payment")
    match command:
        case CapturePayment():
            _require_requested(payment)
            return [
                PaymentCaptured(
                    payment_id=payment.payment_id,
                    order_id=payment.order_id,
                    amount=payment.amount,
                    currency=payment.currency,
                    captured_at=now,
                )
            ]
        case FailPayment():
            _require_requested(payment)
            return [
                PaymentFailed(
                    payment_id=payment.payment_id, order_id=payment.order_id, reason=command.reason, failed_at=now
                )
            ]
        case RefundPayment():
            return [_refunded(payment, command, now)]
        case _:
            assert_never(command)


def evolve(payment: Payment | None, event: Event) -> Payment:
    if isinstance(event, PaymentRequested):
        return Payment(
            status=PaymentStatus.REQUESTED,
            payment_id=event.payment_id,
            order_id=event.order_id,
            amount=event.amount,
            currency=event.currency,
        )
    if payment is None:
        raise ValueError(f"{type(event).__name__} cannot begin a payment")
    match event:
        case PaymentCaptured():
            return replace(payment, status=PaymentStatus.CAPTURED)
        case PaymentFailed():
            return replace(payment, status=PaymentStatus.FAILED)
        case PaymentRefunded():
            return replace(payment, refunded=event.refunded)
        case _:
            assert_never(event)


def _require_requested(payment: Payment) -> None:
    if payment.status is not PaymentStatus.REQUESTED:
        raise Refused("payment-settled", f"the payment is {payment.status} already")


def _refunded(payment: Payment, command: RefundPayment, now: datetime) -> PaymentRefunded:
    if payment.status is not PaymentStatus.CAPTURED:
        raise Refused("payment-not-captured", f"a payment that is {payment.status} cannot be refunded")
    refunded = payment.refunded + command.amount
    if refunded > payment.amount:
        left = payment.amount - payment.refunded
        raise Refused("refund-exceeded", f"of the payment's {payment.amount}, {left} can still be refunded")
    return PaymentRefunded(
        payment_id=payment.payment_id,
        order_id=payment.order_id,
        amount=command.amount,
        refunded=refunded,
        currency=payment.currency,
        refunded_at=now,
    )


AGGREGATE: Final = Aggregate(
    kind="payments",
    state=Payment,
    decide=decide,
    evolve=evolve,
    commands=frozenset({RequestPayment, CapturePayment, FailPayment, RefundPayment}),
    creates={RequestPayment: "payment_id"},
)
