"""A stream that its aggregate calls closed gets no further event, whatever it is asked: so its old events may be archived."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from command_service.archiving.archiver import CLOSABLE
from command_service.domain.aggregate import Aggregate, Refused
from command_service.domain.aggregates import AGGREGATES, BY_COMMAND
from shared.contracts.registry import COMMANDS

NOW: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
LINE: Final = {"product_id": "p", "quantity": 2, "amount": 10}
BOOKED: Final = "2026-03-02T09:00:00Z"
DATA: Final[Mapping[str, Mapping[str, Any]]] = {
    "orders.place-order": {"order_id": "o", "customer_id": "c", "currency": "EUR", "lines": [LINE]},
    "orders.pay-order": {"amount": 10},
    "orders.cancel-order": {"reason": "x"},
    "bookings.request-booking": {
        "booking_id": "b",
        "patient_id": "p",
        "doctor_id": "d",
        "starts_at": BOOKED,
        "minutes": 30,
    },
    "bookings.move-booking": {"starts_at": BOOKED},
    "bookings.request-reminder": {"starts_at": BOOKED},
    "bookings.cancel-booking": {"reason": "x"},
    "devices.register-device": {"device_id": "d", "model": "T4", "metrics": [{"name": "temp", "unit": "C"}]},
    "devices.configure-device": {"site": "roof"},
    "devices.record-telemetry": {"readings": [{"metric": "temp", "at": BOOKED, "value": "1.5"}]},
    "devices.retire-device": {"reason": "x"},
}
"""What the commands of these kinds need; the others need nothing."""

LIVES: Final[Sequence[tuple[str, Sequence[str]]]] = [
    ("orders", ["place-order", "pay-order", "ship-order", "deliver-order"]),
    ("orders", ["place-order", "cancel-order"]),
    ("bookings", ["request-booking", "confirm-booking", "complete-booking"]),
    ("bookings", ["request-booking", "confirm-booking", "mark-no-show"]),
    ("bookings", ["request-booking", "cancel-booking"]),
    ("devices", ["register-device", "record-telemetry", "retire-device"]),
]


def decided(aggregate: Aggregate, state: Any, name: str) -> Sequence[Any]:
    command = COMMANDS[name].model_validate(DATA.get(name, {}))
    facts: tuple[Any, ...] = ({},) if type(command) in aggregate.borrows else ()
    try:
        return aggregate.decide(state, command, NOW, *facts)
    except Refused:
        return []


def test_every_kind_that_can_be_closed_is_tested_here() -> None:
    assert {kind for kind, _ in LIVES} == set(CLOSABLE)


@pytest.mark.parametrize(("kind", "steps"), LIVES)
def test_a_stream_is_closed_at_its_end_and_not_before_and_gets_no_event_then(kind: str, steps: Sequence[str]) -> None:
    [aggregate] = [each for each in AGGREGATES if each.kind == kind]
    state: Any = None
    for step in steps:
        assert state is None or not aggregate.closed(state)
        [event] = decided(aggregate, state, f"{kind}.{step}")
        state = aggregate.evolve(state, event)
    assert aggregate.closed(state)
    names = [name for name, cls in COMMANDS.items() if BY_COMMAND[cls] is aggregate]
    assert len(names) >= 4
    assert [name for name in names if decided(aggregate, state, name)] == []
