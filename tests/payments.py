"""Events of a payment, for tests."""

from shared.contracts.payments import PaymentCaptured, PaymentFailed, PaymentRefunded, PaymentRequested
from tests.shop import NOON


def requested(payment_id: str = "y-1", *, order_id: str = "o-1", amount: int = 400) -> PaymentRequested:
    return PaymentRequested(payment_id=payment_id, order_id=order_id, amount=amount, currency="EUR", requested_at=NOON)


def captured(payment_id: str = "y-1", *, order_id: str = "o-1", amount: int = 400) -> PaymentCaptured:
    return PaymentCaptured(payment_id=payment_id, order_id=order_id, amount=amount, currency="EUR", captured_at=NOON)


def failed(payment_id: str = "y-1", *, order_id: str = "o-1", reason: str = "card declined") -> PaymentFailed:
    return PaymentFailed(payment_id=payment_id, order_id=order_id, reason=reason, failed_at=NOON)


def refunded(
    amount: int, *, payment_id: str = "y-1", order_id: str = "o-1", refunded: int | None = None
) -> PaymentRefunded:
    return PaymentRefunded(
        payment_id=payment_id,
        order_id=order_id,
        amount=amount,
        refunded=amount if refunded is None else refunded,
        currency="EUR",
        refunded_at=NOON,
    )
