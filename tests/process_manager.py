"""A small process manager over the shop's contracts, for tests: a parcel is paid, shipped and delivered, or given up in time.

It begins with an order; what comes from customers' streams (``customers/for-<process>``) may come before. What it does is chosen by the
customer's name: ``poison`` raises, ``cancel`` finishes it, ``again`` sets its timer again.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import msgspec

from projectors.processes.process import (
    CancelTimer,
    Done,
    Effect,
    EventInput,
    Input,
    OperatorInput,
    OutcomeInput,
    ProcessManager,
    ProcessState,
    Rules,
    Send,
    Timer,
    TimerInput,
)
from shared.contracts.customers import CustomerRegistered, CustomerRenamed
from shared.contracts.orders import OrderDelivered, OrderPaid, OrderPlaced

NAME: Final = "parcel-test"
PAYMENT: Final = "payment"


class Parcel(ProcessState, frozen=True, kw_only=True):
    order_id: str
    seen: tuple[str, ...] = ()
    paid: bool = False
    result: str | None = None


class PoisonError(Exception):
    pass


POISON: Final[dict[str, bool]] = {"active": True}
"""Whether ``poison`` raises: a test deploys the fix by turning it off."""


def correlate(given: EventInput) -> str | None:
    kind, _, key = given.stream.partition("/")
    if kind == "orders":
        return key
    return key.removeprefix("for-") if key.startswith("for-") else None


def evolve(state: Parcel | None, given: Input) -> Parcel:
    if state is None:
        if not isinstance(given, EventInput) or not isinstance(given.data, OrderPlaced):
            raise TypeError(f"not the start: {given}")
        state = Parcel(order_id=given.data.order_id)
    name = getattr(getattr(given, "data", None), "name", "")
    if name == "poison" and POISON["active"]:
        raise PoisonError("this input is poison")
    paid = state.paid or (isinstance(given, EventInput) and isinstance(given.data, OrderPaid))
    return msgspec.structs.replace(state, seen=(*state.seen, word_for(given)), paid=paid)


def decide(state: Parcel, given: Input) -> Sequence[Effect]:
    match given:
        case EventInput(data=OrderPlaced()):
            return [
                Send("orders.pay-order", state.order_id, {"amount": 400}, "pay"),
                Timer(PAYMENT, timedelta(seconds=30)),
            ]
        case EventInput(data=OrderPaid()):
            return [CancelTimer(PAYMENT), Send("orders.ship-order", state.order_id, {}, "ship")]
        case EventInput(data=OrderDelivered()):
            return [Done("delivered")]
        case EventInput(data=CustomerRegistered(name="cancel") | CustomerRenamed(name="cancel")):
            return [Done("cancelled")]
        case EventInput(data=CustomerRegistered(name="again") | CustomerRenamed(name="again")):
            return [Timer(PAYMENT, timedelta(seconds=60))]
        case TimerInput():
            return [Send("orders.cancel-order", state.order_id, {"reason": "not paid"}, "cancel"), Done("too late")]
        case OperatorInput(act="cancel"):
            return [Done("cancelled by an operator")]
        case OutcomeInput(accepted=False, key="pay"):
            return [Done("refused")]
    return []


def word_for(given: Input) -> str:
    match given:
        case EventInput(data=data):
            name = getattr(data, "name", "")
            return type(data).__name__ + (f" {name}" if name else "")
        case OutcomeInput(key=key, accepted=accepted):
            return f"{key} {'accepted' if accepted else 'rejected'}"
        case TimerInput(name=name):
            return f"timer {name}"
        case OperatorInput(act=act):
            return f"operator {act}"


def waiting_for(state: Parcel) -> Sequence[str]:
    return ["delivery"] if state.paid else ["payment"]


RULES: Final = Rules(evolve, decide, waiting_for)
PARCEL: Final = ProcessManager(
    name=NAME,
    kinds=("orders", "customers"),
    starts=frozenset({OrderPlaced}),
    correlate=correlate,
    state=Parcel,
    rules=RULES,
)


def changed(**fields: Any) -> ProcessManager:
    """The process manager after a deployment."""
    return replace(PARCEL, **fields)
