"""given(inputs).then(effects): what a fulfilment does, path by path."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from projectors.processes.fulfilment.process import DEADLINE, PAYMENT, PROCESS, configured, correlate
from projectors.processes.fulfilment.state import Fulfilment
from projectors.processes.process import (
    Act,
    CancelTimer,
    Done,
    Effect,
    EventInput,
    OperatorInput,
    OutcomeInput,
    Send,
    Timer,
    TimerInput,
)
from shared.contracts.orders import OrderCancelled
from shared.contracts.registry import EVENTS
from shared.contracts.values import EventData
from shared.runtime.settings import Settings
from tests import payments, shop

PAY = PAYMENT + "o-1"
LINES = [
    shop.line("tea", quantity=2, amount=300),
    shop.line("cups", quantity=1, amount=100),
    shop.line("tea", quantity=1, amount=100),
]
PLACED = shop.placed(lines=LINES, fulfilment="managed")
CAPTURED = payments.captured(PAY, amount=500)
CANCELLED = shop.cancelled(PLACED, reason="changed my mind")
CANCEL_TIMER = CancelTimer(DEADLINE)
CONFIRM = Send("orders.confirm-order", "o-1", {}, "confirm")
REFUND = Send("payments.refund-payment", PAY, {"amount": 500}, "refund")


def stock(act: str, product_id: str, **quantity: int) -> Send:
    return Send(f"catalog.{act}-stock", product_id, {"reservation_id": "o-1", **quantity}, f"{act}:{product_id}")


def cancel(reason: str) -> list[Effect]:
    return [Send("orders.cancel-order", "o-1", {"reason": reason}, "cancel")]


def yes(key: str) -> tuple[str, bool]:
    return key, True


def no(key: str) -> tuple[str, bool]:
    return key, False


def act(what: Act) -> OperatorInput:
    return OperatorInput("any", shop.NOON, what, "ann", "as asked")


Step = EventData | tuple[str, bool] | OperatorInput | str


def as_input(step: Step, number: int) -> Any:
    id_ = f"i-{number}"
    match step:
        case EventData():
            return EventInput(id_, shop.NOON, "any/stream", number, EVENTS[type(step)][0], step)
        case (key, accepted):
            return OutcomeInput(id_, shop.NOON, key, f"c-{number}", "any", accepted, message="" if accepted else "no")
        case OperatorInput():
            return msgspec.structs.replace(step, id=id_)
        case _:
            return TimerInput(id_, shop.NOON, step)


def after(*steps: Step) -> tuple[Fulfilment, Sequence[Effect]]:
    """The state after all of them, and the effects of the last."""
    state: Any = None
    effects: Sequence[Effect] = ()
    for number, step in enumerate(steps, 1):
        given = as_input(step, number)
        state = PROCESS.rules.evolve(state, given)
        state = msgspec.json.decode(msgspec.json.encode(state), type=Fulfilment)
        effects = PROCESS.rules.decide(state, given)
    return state, list(effects)


def then(*steps: Step) -> Sequence[Effect]:
    return after(*steps)[1]


RESERVED = (PLACED, yes("reserve:tea"), yes("reserve:cups"))
PAID = (*RESERVED, yes("pay"), CAPTURED)
CONFIRMED = (*PAID, yes("confirm"), shop.confirmed())
CLOSED = (yes("release:tea"), yes("release:cups"))


def test_it_reserves_each_product_once_has_the_order_paid_confirms_it_and_consumes_what_is_shipped() -> None:
    assert then(PLACED) == [
        Timer(DEADLINE, after=timedelta(minutes=15)),
        stock("reserve", "tea", quantity=3),
        stock("reserve", "cups", quantity=1),
    ]
    assert then(*RESERVED[:2]) == []
    request = {"payment_id": PAY, "order_id": "o-1", "amount": 500, "currency": "EUR"}
    assert then(*RESERVED) == [Send("payments.request-payment", PAY, request, "pay")]
    assert then(*PAID) == [CANCEL_TIMER, CONFIRM]
    assert then(*CONFIRMED) == []
    assert then(*CONFIRMED, shop.shipped()) == [stock("consume", "tea"), stock("consume", "cups")]
    done = (*CONFIRMED, shop.shipped(), yes("consume:cups"), yes("consume:tea"))
    assert then(*done) == [Done("fulfilled")]


def test_what_it_waits_for_is_said_at_every_step() -> None:
    steps = [
        RESERVED[:1],
        RESERVED,
        PAID,
        CONFIRMED,
        (*CONFIRMED, shop.shipped()),
        (PLACED, DEADLINE),
        (PLACED, CANCELLED),
    ]
    waits = [PROCESS.rules.waiting_for(after(*one)[0]) for one in steps]
    assert [list(one) for one in waits] == [
        ["reservation"],
        ["payment"],
        ["confirmation"],
        ["shipment"],
        ["consumption"],
        ["cancellation"],
        ["compensation"],
    ]


def test_a_refused_reservation_cancels_the_order_and_releases_the_others_even_one_that_comes_late() -> None:
    refused = (PLACED, no("reserve:tea"))
    assert then(*refused) == cancel("reserve:tea: no")
    assert then(*refused, yes("reserve:cups"), CANCELLED) == [stock("release", "cups")]
    assert then(*refused, CANCELLED, yes("reserve:cups")) == [stock("release", "cups")]
    assert then(*refused, CANCELLED, no("reserve:cups")) == [Done("cancelled: reserve:tea: no")]
    closed = then(*refused, CANCELLED, yes("reserve:cups"), yes("release:cups"))
    assert closed == [Done("cancelled: reserve:tea: no")]


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (payments.failed(PAY), "the payment failed: card declined"),
        (DEADLINE, "it was not paid in time"),
        (no("pay"), "pay: no"),
        (act(Act.CANCEL), "as asked (ann)"),
        (act(Act.COMPENSATE), "as asked (ann)"),
    ],
)
def test_without_a_payment_the_order_is_cancelled_with_the_reason_and_what_is_reserved_is_released(
    step: Step, reason: str
) -> None:
    assert then(*RESERVED, step) == cancel(reason)
    assert then(*RESERVED, step, CANCELLED) == [stock("release", "tea"), stock("release", "cups")]
    assert then(*RESERVED, step, CANCELLED, *CLOSED) == [Done(f"cancelled: {reason}")]


@pytest.mark.parametrize(
    "late",
    [
        (*RESERVED, DEADLINE, CANCELLED, yes("release:tea"), CAPTURED),
        (*RESERVED, DEADLINE, CANCELLED, *CLOSED, CAPTURED),
        (*RESERVED, DEADLINE, CAPTURED, CANCELLED),
        (*PAID, CANCELLED),
        (*CONFIRMED, CANCELLED),
    ],
)
def test_a_payment_that_comes_late_is_refunded_whenever_it_comes(late: Sequence[Step]) -> None:
    assert REFUND in then(*late)
    rest = [each for each in CLOSED if each not in late]
    refunded = (*late, *rest, payments.refunded(500, payment_id=PAY))
    [done] = then(*refunded)
    assert isinstance(done, Done)
    assert REFUND not in then(*late, no("refund"))
    assert then(*late, *rest, act(Act.RETRY)) == [REFUND]


def test_what_was_refunded_by_hand_is_not_refunded_again() -> None:
    partly = payments.refunded(200, payment_id=PAY)
    [*_, refund] = then(*PAID, partly, CANCELLED)
    assert refund == Send("payments.refund-payment", PAY, {"amount": 300}, "refund")


def test_an_order_that_its_customer_cancels_is_compensated_with_the_customer_s_reason() -> None:
    assert then(*PAID, CANCELLED, no("confirm")) == []
    done = then(*PAID, CANCELLED, no("confirm"), *CLOSED, payments.refunded(500, payment_id=PAY))
    assert done == [Done("cancelled: changed my mind")]


def test_a_confirmation_that_is_refused_cancels_the_order_and_a_shipped_one_stays_shipped() -> None:
    assert then(*PAID, no("confirm")) == cancel("confirm: no")
    assert then(*CONFIRMED, act(Act.CANCEL)) == cancel("as asked (ann)")
    shipped = (*CONFIRMED, act(Act.CANCEL), shop.shipped())
    assert then(*shipped) == [stock("consume", "tea"), stock("consume", "cups")]
    assert then(*shipped, no("cancel"), yes("consume:tea"), yes("consume:cups")) == [Done("fulfilled")]


def test_a_deadline_that_passes_while_the_order_is_being_cancelled_changes_nothing() -> None:
    assert then(PLACED, no("reserve:tea"), DEADLINE) == []
    assert then(*RESERVED, CANCELLED, DEADLINE) == []


def test_a_timer_changes_nothing_once_the_order_is_paid() -> None:
    assert then(*PAID, DEADLINE) == []
    assert after(*CONFIRMED, DEADLINE)[0].failure == ""


def test_a_cancellation_that_is_refused_waits_for_an_operator_who_has_it_sent_again() -> None:
    assert then(*RESERVED, DEADLINE, no("cancel")) == []
    assert then(*RESERVED, DEADLINE, no("cancel"), act(Act.RETRY)) == cancel("it was not paid in time")
    assert then(*RESERVED, act(Act.RETRY)) == []


def test_what_could_not_be_consumed_is_part_of_the_result() -> None:
    shipped = (*CONFIRMED, shop.shipped(), no("consume:tea"), yes("consume:cups"))
    assert then(*shipped) == [Done("fulfilled; consume:tea: no")]


def test_a_reason_is_never_longer_than_a_cancellation_takes() -> None:
    state, _ = after(*RESERVED, payments.failed(PAY, reason="x" * 10_000))
    assert len(state.failure) == 1000


def test_only_managed_orders_and_payments_of_ours_are_for_a_fulfilment() -> None:
    def of(data: EventData) -> str | None:
        return correlate(as_input(data, 1))

    for order in (PLACED, shop.confirmed(), shop.shipped(fulfilment="managed"), CANCELLED):
        assert of(order) == "o-1"
    other = shop.placed()
    for data in (other, shop.shipped(), shop.cancelled(other), shop.paid(), shop.delivered(), shop.received()):
        assert of(data) is None
    assert isinstance(CANCELLED, OrderCancelled)
    assert of(CAPTURED) == of(payments.failed(PAY)) == of(payments.refunded(1, payment_id=PAY)) == "o-1"
    assert of(payments.captured("o-1")) is of(payments.requested(PAY)) is None


def test_how_long_it_waits_for_the_payment_is_a_setting() -> None:
    placed = as_input(PLACED, 1)
    assert timedelta(seconds=Settings().fulfilment_pay_within_s) == timedelta(minutes=15)
    rules = configured(Settings(fulfilment_pay_within_s=10)).rules
    assert Timer(DEADLINE, after=timedelta(seconds=10)) in rules.decide(rules.evolve(None, placed), placed)
