"""What is set aside of a product's stock: reserved units stay in stock until they are consumed, and are no longer available.

    reserve: available → reserved        release: reserved → available        consume: reserved → out of stock

So always 0 ≤ reserved ≤ stock, and received = available + reserved + consumed. A reservation may be released and consumed in parts.

Refusals: insufficient-stock, too-many-reservations, reservation-not-open, reservation-exceeded; an id that the product has had before is a
claim (``products.claims``), so that closed reservations need not be kept.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, assert_never

from command_service.domain.aggregate import Refused
from shared.contracts.catalog import (
    ConsumeStock,
    ReleaseStock,
    ReserveStock,
    StockConsumed,
    StockReleased,
    StockReserved,
)

MAX_OPEN: Final = 10_000
"""Open reservations of one product: they are in its state, which is read and written with each of its commands."""

Command = ReserveStock | ReleaseStock | ConsumeStock
Event = StockReserved | StockReleased | StockConsumed
Open = Mapping[str, int]
"""Open reservation → the units that are left in it."""


def decide(product_id: str, stock: int, reserved: int, opened: Open, command: Command, now: datetime) -> Event:
    reservation_id = command.reservation_id
    match command:
        case ReserveStock():
            return _reserve(product_id, stock, reserved, opened, command, now)
        case ReleaseStock():
            quantity, left = _taken(opened, reservation_id, command.quantity)
            return StockReleased(
                product_id=product_id,
                reservation_id=reservation_id,
                quantity=quantity,
                open=left,
                stock=stock,
                reserved=reserved - quantity,
                released_at=now,
            )
        case ConsumeStock():
            quantity, left = _taken(opened, reservation_id, command.quantity)
            return StockConsumed(
                product_id=product_id,
                reservation_id=reservation_id,
                quantity=quantity,
                open=left,
                stock=stock - quantity,
                reserved=reserved - quantity,
                consumed_at=now,
            )
        case _:
            assert_never(command)


def evolve(opened: Open, event: Event) -> dict[str, int]:
    changed = dict(opened)
    if left := event.quantity if isinstance(event, StockReserved) else event.open:
        changed[event.reservation_id] = left
    else:
        changed.pop(event.reservation_id, None)
    return changed


def _reserve(
    product_id: str, stock: int, reserved: int, opened: Open, command: ReserveStock, now: datetime
) -> StockReserved:
    if command.reservation_id in opened:
        raise Refused("reservation-already-made", f"reservation {command.reservation_id} has already been made")
    available = stock - reserved
    if command.quantity > available:
        raise Refused("insufficient-stock", f"{available} units are available, {command.quantity} are to be reserved")
    if len(opened) >= MAX_OPEN:
        raise Refused("too-many-reservations", f"the product has {MAX_OPEN} open reservations already")
    return StockReserved(
        product_id=product_id,
        reservation_id=command.reservation_id,
        quantity=command.quantity,
        stock=stock,
        reserved=reserved + command.quantity,
        reserved_at=now,
    )


def _taken(opened: Open, reservation_id: str, wanted: int | None) -> tuple[int, int]:
    """The units that are taken out of the reservation, and those that are left in it."""
    left = opened.get(reservation_id)
    if left is None:
        raise Refused("reservation-not-open", f"there is no open reservation {reservation_id}")
    quantity = left if wanted is None else wanted
    if quantity > left:
        raise Refused("reservation-exceeded", f"reservation {reservation_id} has {left} units left")
    return quantity, left - quantity
