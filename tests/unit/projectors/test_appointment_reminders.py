"""A confirmed booking is reminded of in time, once for each time it is at; decided by the pure functions alone."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from projectors.processes.appointment_reminders.process import PROCESS, process_manager
from projectors.processes.process import (
    Act,
    Done,
    Effect,
    EventInput,
    Input,
    OperatorInput,
    OutcomeInput,
    ProcessState,
    Send,
    Timer,
    TimerInput,
)
from shared.contracts.registry import EVENTS
from shared.contracts.values import EventData
from shared.processes import named
from tests import practice

LEAD = timedelta(hours=2)
REMINDERS = process_manager(LEAD)
LATER = practice.NINE + timedelta(days=1)
BOOKING = practice.requested()


def event(data: EventData, version: int = 1) -> EventInput:
    return EventInput(f"bookings/b-1@{version}", practice.NOON, "bookings/b-1", version, EVENTS[type(data)][0], data)


def timer(at: datetime) -> TimerInput:
    return TimerInput("reminder@1.1", at, "reminder")


def outcome(starts_at: datetime) -> OutcomeInput:
    return OutcomeInput("o-1", practice.NOON, starts_at.isoformat(), "c-1", "bookings.request-reminder", True)


def after(*given: Input | EventData) -> tuple[Any, list[Effect]]:
    """The state after these inputs, and what the last one led to."""
    state: ProcessState | None = None
    effects: list[Effect] = []
    for one in given:
        each = event(one) if isinstance(one, EventData) else one
        state = REMINDERS.rules.evolve(state, each)
        effects = list(REMINDERS.rules.decide(state, each))
    return state, effects


def test_a_booking_that_is_only_requested_is_not_reminded_of() -> None:
    state, effects = after(BOOKING)
    assert effects == []
    assert REMINDERS.rules.waiting_for(state) == ["confirmation"]


def test_a_confirmed_booking_has_a_timer_before_its_start() -> None:
    state, effects = after(BOOKING, practice.confirmed())
    assert effects == [Timer("reminder", at=practice.NINE - LEAD)]
    assert REMINDERS.rules.waiting_for(state) == ["reminder"]


def test_a_move_sets_the_timer_again_once_it_is_confirmed() -> None:
    moved = practice.moved(BOOKING, starts_at=LATER)
    assert after(BOOKING, moved)[1] == []
    assert after(BOOKING, moved, practice.confirmed())[1] == [Timer("reminder", at=LATER - LEAD)]
    assert after(BOOKING, practice.confirmed(), moved)[1] == [Timer("reminder", at=LATER - LEAD)]


def test_the_timer_asks_for_a_reminder_of_the_time_that_it_is_at() -> None:
    state, effects = after(BOOKING, practice.confirmed(), timer(practice.NINE - LEAD))
    text = practice.NINE.isoformat()
    assert effects == [Send("bookings.request-reminder", "b-1", {"starts_at": text}, text)]
    state, effects = after(BOOKING, practice.confirmed(), timer(practice.NINE - LEAD), outcome(practice.NINE))
    assert effects == []
    assert REMINDERS.rules.waiting_for(state) == ["end"]


def test_nothing_is_reminded_of_after_it_has_begun() -> None:
    assert after(BOOKING, practice.confirmed(), timer(practice.NINE))[1] == []


def test_a_booking_that_is_moved_after_its_reminder_is_reminded_of_again() -> None:
    moved = practice.moved(BOOKING, starts_at=LATER)
    before = (BOOKING, practice.confirmed(), timer(practice.NINE - LEAD), outcome(practice.NINE))
    state, effects = after(*before, moved)
    assert effects == [Timer("reminder", at=LATER - LEAD)]
    assert REMINDERS.rules.waiting_for(state) == ["reminder"]


@pytest.mark.parametrize("end", [practice.cancelled(BOOKING), practice.completed(), practice.no_show()])
def test_the_end_of_a_booking_ends_its_reminders(end: EventData) -> None:
    assert after(BOOKING, practice.confirmed(), end)[1] == [Done("not reminded")]
    reminded = (timer(practice.NINE - LEAD), outcome(practice.NINE))
    assert after(BOOKING, practice.confirmed(), *reminded, end)[1] == [Done("reminded")]


def test_an_operator_can_cancel_the_reminders_of_a_booking() -> None:
    act = OperatorInput("operator/1", practice.NOON, Act.CANCEL, "ann", "asked for it")
    moved = practice.moved(BOOKING, starts_at=LATER)
    assert after(BOOKING, practice.confirmed(), act)[1] == [Done("not reminded")]
    assert not [one for one in after(BOOKING, practice.confirmed(), act, moved)[1] if isinstance(one, Timer)]


def test_it_is_declared_as_it_is_listed() -> None:
    declared = named(PROCESS.name)
    assert (declared.name, tuple(declared.kinds)) == (PROCESS.name, tuple(PROCESS.kinds))
