"""Reservations of a product's stock: what is set aside, given back, and taken out; and that nothing is lost or made up."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from command_service.domain import reservations
from command_service.domain.aggregate import Refused
from command_service.domain.products import AGGREGATE, Product, claims, decide, evolve
from shared.contracts.catalog import (
    ConsumeStock,
    CreateProduct,
    ReceiveStock,
    ReleaseStock,
    ReserveStock,
    StockConsumed,
    StockReceived,
    StockReleased,
    StockReserved,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CREATE = CreateProduct(product_id="p-1", name="Tea", category="drinks", price=499, currency="EUR")
FIVE = (CREATE, ReceiveStock(quantity=5))


def reserve(quantity: int, key: str = "r-1") -> ReserveStock:
    return ReserveStock(reservation_id=key, quantity=quantity)


def release(quantity: int | None = None, key: str = "r-1") -> ReleaseStock:
    return ReleaseStock(reservation_id=key, quantity=quantity)


def consume(quantity: int | None = None, key: str = "r-1") -> ConsumeStock:
    return ConsumeStock(reservation_id=key, quantity=quantity)


def given(*commands: Any) -> Product | None:
    product: Product | None = None
    for command in commands:
        for event in decide(product, command, NOW):
            product = evolve(product, event)
    return product


def refusal(product: Product | None, command: Any) -> str:
    with pytest.raises(Refused) as refused:
        decide(product, command, NOW)
    return refused.value.code


def test_reserved_units_stay_in_stock_and_are_no_longer_available() -> None:
    assert decide(given(*FIVE), reserve(3), NOW) == [
        StockReserved(product_id="p-1", reservation_id="r-1", quantity=3, stock=5, reserved=3, reserved_at=NOW)
    ]
    assert refusal(given(*FIVE, reserve(3)), reserve(3, "r-2")) == "insufficient-stock"
    assert refusal(given(*FIVE), reserve(6)) == "insufficient-stock"
    assert refusal(given(CREATE), reserve(1)) == "insufficient-stock"


def test_a_reservation_is_released_and_consumed_in_parts_and_at_last_whole() -> None:
    product = given(*FIVE, reserve(4), release(1))
    assert decide(product, consume(2), NOW) == [
        StockConsumed(product_id="p-1", reservation_id="r-1", quantity=2, open=1, stock=3, reserved=1, consumed_at=NOW)
    ]
    product = given(*FIVE, reserve(4), release(1), consume(2))
    assert decide(product, release(), NOW) == [
        StockReleased(product_id="p-1", reservation_id="r-1", quantity=1, open=0, stock=3, reserved=0, released_at=NOW)
    ]


@pytest.mark.parametrize("take", [release, consume])
def test_no_more_is_taken_than_is_open(take: Any) -> None:
    assert refusal(given(*FIVE), take()) == "reservation-not-open"
    assert refusal(given(*FIVE, reserve(3)), take(4)) == "reservation-exceeded"
    assert refusal(given(*FIVE, reserve(3), take(2)), take(2)) == "reservation-exceeded"
    assert refusal(given(*FIVE, reserve(3), take(3)), take(1)) == "reservation-not-open"
    assert refusal(given(*FIVE, reserve(3)), take(1, "another")) == "reservation-not-open"


def test_a_reservation_s_id_is_the_product_s_for_ever() -> None:
    assert refusal(given(*FIVE, reserve(3)), reserve(1)) == "reservation-already-made"
    [event] = decide(given(*FIVE), reserve(3), NOW)
    [claim] = claims(event).take
    assert (claim.scope, claim.value, claim.code) == ("reservation:p-1", "r-1", "reservation-already-made")
    assert not any(claims(later).release for later in decide(given(*FIVE, reserve(3)), consume(), NOW))


def test_open_reservations_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reservations, "MAX_OPEN", 2)
    product = given(*FIVE, reserve(1, "a"), reserve(1, "b"))
    assert refusal(product, reserve(1, "c")) == "too-many-reservations"
    assert given(*FIVE, reserve(1, "a"), reserve(1, "b"), consume(key="a"), reserve(1, "c")) is not None


def test_a_delivery_says_what_is_reserved_only_if_something_is() -> None:
    [first] = decide(given(*FIVE), ReceiveStock(quantity=1), NOW)
    [later] = decide(given(*FIVE, reserve(3)), ReceiveStock(quantity=1), NOW)
    assert isinstance(first, StockReceived)
    assert isinstance(later, StockReceived)
    assert (first.reserved, later.reserved, later.stock) == (msgspec.UNSET, 3, 6)


def test_state_from_before_reservations_is_replayed() -> None:
    kept = msgspec.json.encode(given(*FIVE)).decode()
    assert AGGREGATE.restored(kept, 1) is None
    assert AGGREGATE.restored(kept, AGGREGATE.state_version) == given(*FIVE)


KEYS = st.sampled_from("abc")
PARTS = st.none() | st.integers(1, 6)
ANY = st.one_of(
    st.builds(ReceiveStock, quantity=st.integers(1, 9)),
    st.builds(ReserveStock, reservation_id=KEYS, quantity=st.integers(1, 6)),
    st.builds(ReleaseStock, reservation_id=KEYS, quantity=PARTS),
    st.builds(ConsumeStock, reservation_id=KEYS, quantity=PARTS),
)


@for_all(st.lists(ANY, max_size=30))
def test_received_is_always_available_and_reserved_and_consumed(commands: list[Any]) -> None:
    product = given(CREATE)
    assert product is not None
    received = consumed = 0
    for command in commands:
        try:
            events = decide(product, command, NOW)
        except Refused:
            continue
        for event in events:
            product = evolve(product, event)
            received += event.quantity if isinstance(event, StockReceived) else 0
            consumed += event.quantity if isinstance(event, StockConsumed) else 0
        assert product.reserved == sum(product.reservations.values())
        assert all(units > 0 for units in product.reservations.values())
        assert received == (product.stock - product.reserved) + product.reserved + consumed
        assert 0 <= product.reserved <= product.stock
        assert msgspec.json.decode(msgspec.json.encode(product), type=Product) == product
