"""given(commands).when(command).then(events): what may happen to a payment."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from command_service.domain.aggregate import Refused
from command_service.domain.payments import Payment, decide, evolve
from shared.contracts.payments import (
    CapturePayment,
    FailPayment,
    PaymentCaptured,
    PaymentFailed,
    PaymentRefunded,
    PaymentRequested,
    RefundPayment,
    RequestPayment,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
REQUEST = RequestPayment(payment_id="y-1", order_id="o-1", amount=750, currency="EUR")
CAPTURE, FAIL = CapturePayment(), FailPayment(reason="card declined")


def given(*commands: Any) -> Payment | None:
    payment: Payment | None = None
    for command in commands:
        for event in decide(payment, command, NOW):
            payment = evolve(payment, event)
    return payment


def refusal(payment: Payment | None, command: Any) -> str:
    with pytest.raises(Refused) as refused:
        decide(payment, command, NOW)
    return refused.value.code


def test_a_payment_is_requested_captured_and_refunded_in_parts() -> None:
    assert decide(None, REQUEST, NOW) == [
        PaymentRequested(payment_id="y-1", order_id="o-1", amount=750, currency="EUR", requested_at=NOW)
    ]
    assert decide(given(REQUEST), CAPTURE, NOW) == [
        PaymentCaptured(payment_id="y-1", order_id="o-1", amount=750, currency="EUR", captured_at=NOW)
    ]
    partly = given(REQUEST, CAPTURE, RefundPayment(amount=200))
    [last] = decide(partly, RefundPayment(amount=550), NOW)
    assert isinstance(last, PaymentRefunded)
    assert (last.amount, last.refunded, last.order_id) == (550, 750, "o-1")


def test_a_payment_that_fails_says_why() -> None:
    assert decide(given(REQUEST), FAIL, NOW) == [
        PaymentFailed(payment_id="y-1", order_id="o-1", reason="card declined", failed_at=NOW)
    ]


@pytest.mark.parametrize(
    ("before", "command", "code"),
    [
        ((REQUEST,), REQUEST, "payment-already-requested"),
        ((), CAPTURE, "payment-not-found"),
        ((), FAIL, "payment-not-found"),
        ((), RefundPayment(amount=1), "payment-not-found"),
        ((REQUEST, CAPTURE), CAPTURE, "payment-settled"),
        ((REQUEST, CAPTURE), FAIL, "payment-settled"),
        ((REQUEST, FAIL), CAPTURE, "payment-settled"),
        ((REQUEST,), RefundPayment(amount=1), "payment-not-captured"),
        ((REQUEST, FAIL), RefundPayment(amount=1), "payment-not-captured"),
        ((REQUEST, CAPTURE), RefundPayment(amount=751), "refund-exceeded"),
        ((REQUEST, CAPTURE, RefundPayment(amount=700)), RefundPayment(amount=51), "refund-exceeded"),
    ],
)
def test_what_cannot_be_is_refused(before: tuple[Any, ...], command: Any, code: str) -> None:
    assert refusal(given(*before), command) == code


ANY = st.one_of(st.sampled_from([REQUEST, CAPTURE, FAIL]), st.builds(RefundPayment, amount=st.integers(1, 800)))


@for_all(st.lists(ANY, max_size=12))
def test_refunds_never_come_to_more_than_was_captured_and_state_survives_its_own_json(commands: list[Any]) -> None:
    payment: Payment | None = None
    captured = refunded = 0
    for command in commands:
        try:
            events = decide(payment, command, NOW)
        except Refused:
            continue
        for event in events:
            payment = evolve(payment, event)
            captured += event.amount if isinstance(event, PaymentCaptured) else 0
            refunded += event.amount if isinstance(event, PaymentRefunded) else 0
        assert 0 <= refunded <= captured <= 750
        assert payment is not None
        assert payment.refunded == refunded
        assert msgspec.json.decode(msgspec.json.encode(payment), type=Payment) == payment
