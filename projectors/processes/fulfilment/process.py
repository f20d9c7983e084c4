"""The fulfilment of a managed order: reserve its products, have it paid, confirm it; once it is shipped, consume what is reserved.

A refusal, or no payment within ``pay_within``: cancel the order, release what is reserved, refund what is paid, however late that comes.
Orders and payments state facts as events; what becomes of a reservation, the outcomes of our own commands state.
"""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Final

from msgspec import UNSET
from msgspec.structs import replace

from projectors.processes import process as model
from projectors.processes.fulfilment.state import Fulfilment, Phase, Reservation, phase_of
from projectors.processes.process import Act, CancelTimer, Done, EventInput, OperatorInput, OutcomeInput, Send, Timer
from shared.contracts import orders, payments
from shared.runtime.settings import Settings

DEADLINE: Final = "payment-deadline"
PAYMENT: Final = "fulfilment:"  # begins the ids of payments that are ours: an order may have others


def correlate(given: EventInput) -> str | None:
    match given.data:
        case orders.OrderPlaced() | orders.OrderConfirmed() | orders.OrderShipped() | orders.OrderCancelled() as order:
            return None if order.fulfilment is UNSET else order.order_id
        case payments.PaymentCaptured() | payments.PaymentFailed() | payments.PaymentRefunded() as payment:
            return payment.order_id if payment.payment_id == PAYMENT + payment.order_id else None
        case _:
            return None


def evolve(state: Fulfilment | None, given: model.Input) -> Fulfilment:
    changed = _started(given) if state is None else _changed(state, given)
    phase = phase_of(changed)
    return changed if state and phase is state.phase else replace(changed, phase=phase, entered_by=given.id)


def _started(given: Any) -> Fulfilment:
    order: orders.OrderPlaced = given.data
    units = dict[str, int]()
    for line in order.lines:
        units[line.product_id] = units.get(line.product_id, 0) + line.quantity
    asked = dict.fromkeys(units, Reservation.REQUESTED)
    return Fulfilment(
        order_id=order.order_id, currency=order.currency, total=order.total, units=units, reservations=asked
    )


def _changed(state: Fulfilment, given: model.Input) -> Fulfilment:
    match given:
        case EventInput(data=orders.OrderConfirmed()):
            return replace(state, order=orders.OrderStatus.CONFIRMED)
        case EventInput(data=orders.OrderShipped()):
            return replace(state, order=orders.OrderStatus.SHIPPED)
        case EventInput(data=orders.OrderCancelled() as cancelled):
            return _failed(replace(state, order=orders.OrderStatus.CANCELLED), cancelled.reason)
        case EventInput(data=payments.PaymentCaptured() as captured):
            return replace(state, paid=True, held=captured.amount)
        case EventInput(data=payments.PaymentFailed() as failed):
            return _failed(state, f"the payment failed: {failed.reason}")
        case EventInput(data=payments.PaymentRefunded() as refunded):
            return replace(state, held=state.held - refunded.amount)
        case OutcomeInput():
            return _answered(state, given)
        case model.TimerInput() if state.phase in (Phase.RESERVATION, Phase.PAYMENT):
            return _failed(state, "it was not paid in time")
        case OperatorInput(act=Act.CANCEL | Act.COMPENSATE):
            return _failed(state, f"{given.reason} ({given.actor})")
        case _:
            return state


def _answered(state: Fulfilment, outcome: OutcomeInput) -> Fulfilment:
    (act, _, product_id), refusal = outcome.key.partition(":"), f"{outcome.key}: {outcome.message}"
    if act == "reserve":
        now = Reservation.OPEN if outcome.accepted else Reservation.CLOSED
        state = replace(state, reservations={**state.reservations, product_id: now})
    elif act in ("release", "consume"):
        note = state.note if outcome.accepted else f"{state.note}; {refusal}"
        return replace(state, reservations={**state.reservations, product_id: Reservation.CLOSED}, note=note)
    return _failed(state, refusal) if act in ("reserve", "pay", "confirm") and not outcome.accepted else state


def _failed(state: Fulfilment, why: str) -> Fulfilment:
    return replace(state, failure=state.failure or why[:1000])


def decide(state: Fulfilment, given: model.Input, pay_within: timedelta) -> Sequence[model.Effect]:
    begun = state.entered_by == given.id
    again = isinstance(given, OperatorInput) and given.act is Act.RETRY
    order_id, payment_id = state.order_id, PAYMENT + state.order_id
    match state.phase:
        case Phase.RESERVATION if begun:
            reserving = (_stock("reserve", state, product, quantity=units) for product, units in state.units.items())
            return [Timer(DEADLINE, after=pay_within), *reserving]
        case Phase.PAYMENT if begun:
            due = {"payment_id": payment_id, "order_id": order_id, "amount": state.total, "currency": state.currency}
            return [Send("payments.request-payment", payment_id, due, "pay")]
        case Phase.CONFIRMATION if begun:
            return [CancelTimer(DEADLINE), Send("orders.confirm-order", order_id, {}, "confirm")]
        case Phase.CONSUMPTION:
            return [_stock("consume", state, product) for product in _opened(state, given)]
        case Phase.CANCELLATION if begun or again:
            return [Send("orders.cancel-order", order_id, {"reason": state.failure}, "cancel")]
        case Phase.COMPENSATION:
            releasing = (_stock("release", state, product) for product in _opened(state, given))
            late = isinstance(given, EventInput) and isinstance(given.data, payments.PaymentCaptured)
            refund = Send("payments.refund-payment", payment_id, {"amount": state.held}, "refund")
            return [*releasing, *([refund] if state.held and (begun or late or again) else [])]
        case Phase.FULFILLED if begun:
            return [Done(f"fulfilled{state.note}")]
        case Phase.CANCELLED if begun:
            return [Done(f"cancelled: {state.failure}{state.note}")]
        case _:
            return []


def _opened(state: Fulfilment, given: model.Input) -> list[str]:
    """The products whose open reservations are closed now: all when their phase begins, later each that this input opens."""
    opened = [product for product, each in state.reservations.items() if each is Reservation.OPEN]
    if state.entered_by == given.id:
        return opened
    return [each for each in opened if isinstance(given, OutcomeInput) and given.key == f"reserve:{each}"]


def _stock(act: str, state: Fulfilment, product: str, **units: int) -> Send:
    return Send(f"catalog.{act}-stock", product, {"reservation_id": state.order_id, **units}, f"{act}:{product}")


def configured(settings: Settings | None = None) -> model.ProcessManager:
    pay_within = timedelta(seconds=settings.fulfilment_pay_within_s) if settings else timedelta(minutes=15)
    return model.ProcessManager(
        name="fulfilment",
        kinds=("orders", "payments"),
        starts=frozenset({orders.OrderPlaced}),
        correlate=correlate,
        state=Fulfilment,
        rules=model.Rules(evolve, partial(decide, pay_within=pay_within), lambda state: (state.phase,)),
    )


PROCESS: Final = configured()
