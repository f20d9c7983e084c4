"""What the fulfilment of an order knows: the facts that its inputs have stated, and the phase that follows from these."""

from collections.abc import Mapping
from enum import StrEnum

from projectors.processes.process import ProcessState
from shared.contracts.orders import OrderStatus


class Phase(StrEnum):  # named after what it waits for; the last two wait for nothing
    RESERVATION = "reservation"
    PAYMENT = "payment"
    CONFIRMATION = "confirmation"
    SHIPMENT = "shipment"
    CONSUMPTION = "consumption"
    CANCELLATION = "cancellation"
    COMPENSATION = "compensation"
    FULFILLED = "fulfilled"
    CANCELLED = "cancelled"


class Reservation(StrEnum):
    REQUESTED = "requested"
    OPEN = "open"
    CLOSED = "closed"  # refused, released or consumed


class Fulfilment(ProcessState, frozen=True, kw_only=True):
    order_id: str
    currency: str
    total: int
    units: Mapping[str, int]  # by product, summed over the order's lines
    reservations: Mapping[str, Reservation]  # by product
    order: OrderStatus = OrderStatus.PLACED
    paid: bool = False
    held: int = 0  # captured, and not refunded
    failure: str = ""  # why the order is not fulfilled
    note: str = ""  # refused releases and consumptions
    phase: Phase = Phase.RESERVATION
    entered_by: str = ""  # the id of the input that led to this phase


def phase_of(state: Fulfilment) -> Phase:
    unsettled = any(each is not Reservation.CLOSED for each in state.reservations.values())
    if state.order is OrderStatus.CANCELLED:
        return Phase.COMPENSATION if unsettled or state.held else Phase.CANCELLED
    if state.order is OrderStatus.SHIPPED:
        return Phase.CONSUMPTION if unsettled else Phase.FULFILLED
    if state.failure:
        return Phase.CANCELLATION
    if state.order is OrderStatus.CONFIRMED:
        return Phase.SHIPMENT
    if Reservation.REQUESTED in state.reservations.values():
        return Phase.RESERVATION
    return Phase.CONFIRMATION if state.paid else Phase.PAYMENT
