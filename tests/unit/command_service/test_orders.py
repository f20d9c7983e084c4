"""given(events).when(command).then(events): what an order's life may be."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from command_service.domain.aggregate import Refused
from command_service.domain.orders import Order, decide, evolve
from shared.contracts.orders import (
    CancelOrder,
    ConfirmOrder,
    DeliverOrder,
    OrderCancelled,
    OrderConfirmed,
    OrderDelivered,
    OrderPaid,
    OrderPlaced,
    OrderShipped,
    OrderStatus,
    PayOrder,
    PlaceOrder,
    ShipOrder,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLACE = PlaceOrder.model_validate(
    {
        "order_id": "o-1",
        "customer_id": "c-1",
        "currency": "EUR",
        "lines": [
            {"product_id": "p-1", "quantity": 2, "amount": 500},
            {"product_id": "p-2", "quantity": 1, "amount": 250},
        ],
    }
)
PAY = PayOrder(amount=750)
LIFE: Sequence[Any] = (PLACE, PAY, ShipOrder(), DeliverOrder())


def given(*commands: Any) -> Order | None:
    order: Order | None = None
    for command in commands:
        for event in decide(order, command, NOW):
            order = evolve(order, event)
    return order


def refusal(order: Order | None, command: Any) -> str:
    with pytest.raises(Refused) as refused:
        decide(order, command, NOW)
    return refused.value.code


def test_a_placed_order_carries_its_sums_and_takes_the_time_of_its_placing() -> None:
    (event,) = decide(None, PLACE, NOW)
    assert isinstance(event, OrderPlaced)
    assert (event.item_count, event.total, event.placed_at) == (3, 750, NOW)


def test_an_order_is_placed_once() -> None:
    assert refusal(given(PLACE), PLACE) == "order-already-placed"


@pytest.mark.parametrize("command", [PAY, ShipOrder(), DeliverOrder(), CancelOrder(reason="no")])
def test_nothing_happens_to_an_order_that_is_not_there(command: Any) -> None:
    assert refusal(None, command) == "order-not-found"


def test_the_whole_life_of_an_order() -> None:
    kinds = []
    order: Order | None = None
    for command in LIFE:
        for event in decide(order, command, NOW):
            kinds.append(type(event))
            order = evolve(order, event)
    assert kinds == [OrderPlaced, OrderPaid, OrderShipped, OrderDelivered]


@pytest.mark.parametrize(
    ("steps", "command"),
    [
        (1, ShipOrder()),
        (1, DeliverOrder()),
        (2, PAY),
        (3, CancelOrder(reason="late")),
        (4, ShipOrder()),
        (4, CancelOrder(reason="late")),
    ],
)
def test_steps_cannot_be_skipped_repeated_or_taken_back(steps: int, command: Any) -> None:
    assert refusal(given(*LIFE[:steps]), command) == "invalid-transition"


def test_a_payment_is_the_order_s_total_to_the_cent() -> None:
    assert refusal(given(PLACE), PayOrder(amount=749)) == "payment-mismatch"


def test_a_cancellation_carries_the_whole_order() -> None:
    (event,) = decide(given(PLACE, PAY), CancelOrder(reason="changed my mind"), NOW)
    assert isinstance(event, OrderCancelled)
    assert (event.total, event.item_count, len(event.lines), event.placed_at) == (750, 3, 2, NOW)
    assert refusal(given(PLACE, CancelOrder(reason="no")), PAY) == "invalid-transition"


@for_all(st.lists(st.sampled_from([PLACE, PAY, ShipOrder(), DeliverOrder(), CancelOrder(reason="x")]), max_size=8))
def test_whatever_is_asked_state_survives_its_own_json(commands: list[Any]) -> None:
    order: Order | None = None
    for command in commands:
        try:
            events = decide(order, command, NOW)
        except Refused:
            continue
        for event in events:
            order = evolve(order, event)
    if order is not None:
        assert msgspec.json.decode(msgspec.json.encode(order), type=Order) == order
        assert order.status in OrderStatus


def test_a_state_in_which_a_name_is_null_is_read() -> None:
    kept = """{"status": "paid", "order_id": "o-1", "customer_id": "c-1", "currency": "EUR", "item_count": 2, "total": 30,
        "lines": [{"product_id": "p", "name": null, "quantity": 2, "amount": 30}], "placed_at": "2026-03-01T12:00:00Z"}"""
    order = msgspec.json.decode(kept, type=Order)
    [event] = decide(order, CancelOrder(reason="late"), NOW)
    assert isinstance(event, OrderCancelled)
    assert (order.status, event.total, event.lines[0].name) == (OrderStatus.PAID, 30, None)


MANAGED = PLACE.model_copy(update={"fulfilment": "managed"})
CONFIRM = ConfirmOrder()


def test_a_managed_order_is_confirmed_instead_of_paid_and_its_events_say_that_it_is_managed() -> None:
    order: Order | None = None
    events: list[Any] = []
    for command in (MANAGED, CONFIRM, ShipOrder(), DeliverOrder()):
        [event] = decide(order, command, NOW)
        order = evolve(order, event)
        events.append(event)
    assert [type(event) for event in events] == [OrderPlaced, OrderConfirmed, OrderShipped, OrderDelivered]
    assert [event.fulfilment for event in events[:3]] == ["managed"] * 3
    [cancelled] = decide(given(MANAGED, CONFIRM), CancelOrder(reason="no"), NOW)
    assert isinstance(cancelled, OrderCancelled)
    assert cancelled.fulfilment == "managed"


def test_the_events_of_other_orders_are_as_they_always_were() -> None:
    for event in (*decide(None, PLACE, NOW), *decide(given(PLACE, PAY), ShipOrder(), NOW)):
        assert "fulfilment" not in msgspec.to_builtins(event)
    assert "fulfilment" not in msgspec.to_builtins(given(PLACE))


@pytest.mark.parametrize(
    ("steps", "command", "code"),
    [
        ((MANAGED,), PAY, "order-managed"),
        ((MANAGED,), ShipOrder(), "invalid-transition"),
        ((MANAGED, CONFIRM), CONFIRM, "invalid-transition"),
        ((MANAGED, CONFIRM), PAY, "order-managed"),
        ((MANAGED, CONFIRM, ShipOrder()), CancelOrder(reason="late"), "invalid-transition"),
        ((MANAGED, CancelOrder(reason="no")), CONFIRM, "invalid-transition"),
        ((PLACE,), CONFIRM, "order-not-managed"),
        ((PLACE, PAY), CONFIRM, "order-not-managed"),
        ((), CONFIRM, "order-not-found"),
    ],
)
def test_managed_orders_are_confirmed_and_others_are_paid(steps: Sequence[Any], command: Any, code: str) -> None:
    assert refusal(given(*steps), command) == code


def test_a_managed_order_s_id_leaves_room_for_that_of_its_payment() -> None:
    fields = PLACE.model_dump() | {"order_id": "o" * 101}
    assert PlaceOrder.model_validate(fields).fulfilment is None
    with pytest.raises(ValueError, match="at most 100 characters"):
        PlaceOrder.model_validate(fields | {"fulfilment": "managed"})


def test_an_order_is_placed_at_most_a_day_ahead() -> None:
    def placed(at: datetime) -> PlaceOrder:
        return PLACE.model_copy(update={"placed_at": at})

    assert refusal(None, placed(NOW + timedelta(days=1, microseconds=1))) == "order-in-the-future"
    assert refusal(None, placed(datetime(2126, 1, 1, tzinfo=UTC))) == "order-in-the-future"
    for at in (NOW + timedelta(days=1), NOW, datetime(1999, 1, 1, tzinfo=UTC)):
        (event,) = decide(None, placed(at), NOW)
        assert isinstance(event, OrderPlaced)
        assert event.placed_at == at


def test_an_order_of_the_far_future_that_is_there_already_lives_on() -> None:
    (event,) = decide(None, PLACE, datetime(2126, 1, 1, tzinfo=UTC))
    order = evolve(None, event)
    assert [type(one) for one in decide(order, PAY, NOW)] == [OrderPaid]
    (cancelled,) = decide(order, CancelOrder(reason="a typing error"), NOW)
    assert isinstance(cancelled, OrderCancelled)
    assert cancelled.placed_at == datetime(2126, 1, 1, tzinfo=UTC)
