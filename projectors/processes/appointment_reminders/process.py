"""Appointment reminders: a confirmed booking is reminded of once for each time it is at, LEAD_HOURS before, and never after it has begun.

    requested ──confirmed, moved──▶ timer ──LEAD_HOURS before──▶ bookings.request-reminder ──cancelled, completed, no-show──▶ done

What sends the reminder subscribes to ``bookings.reminder-requested``.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Final

from msgspec.structs import replace
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from projectors.processes.process import (
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
from shared.contracts.bookings import (
    BookingCancelled,
    BookingCompleted,
    BookingConfirmed,
    BookingMoved,
    BookingRequested,
    NoShowMarked,
)

REMINDER: Final = "reminder"


class Options(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="TIDEMARK_APPOINTMENT_REMINDERS_", frozen=True)

    lead_hours: Annotated[float, Field(gt=0, le=24 * 365)] = 24.0
    """How long before a booking begins it is reminded of."""


class Reminder(ProcessState, frozen=True, kw_only=True):
    booking_id: str
    starts_at: datetime
    confirmed: bool = False
    reminded_of: datetime | None = None
    """The start of the booking that was last reminded of."""
    over: bool = False


def correlate(given: EventInput) -> str | None:
    return given.stream.removeprefix("bookings/")


def evolve(state: Reminder | None, given: Input) -> Reminder:
    match given:
        case EventInput(data=BookingRequested() as requested):
            return Reminder(booking_id=requested.booking_id, starts_at=requested.starts_at)
    if state is None:
        raise ValueError(f"{given.id} cannot begin the reminders of a booking")
    match given:
        case EventInput(data=BookingConfirmed()):
            return replace(state, confirmed=True)
        case EventInput(data=BookingMoved() as moved):
            return replace(state, starts_at=moved.starts_at)
        case EventInput(data=BookingCancelled() | BookingCompleted() | NoShowMarked()) | OperatorInput(act="cancel"):
            return replace(state, over=True)
        case OutcomeInput(accepted=True):
            return replace(state, reminded_of=datetime.fromisoformat(given.key))
    return state


def rules(lead: timedelta) -> Rules:
    """``lead``: how long before a booking begins it is reminded of."""

    def decide(state: Reminder, given: Input) -> Sequence[Effect]:
        match given:
            case EventInput(data=BookingConfirmed() | BookingMoved()) if state.confirmed and not state.over:
                return [Timer(REMINDER, at=state.starts_at - lead)]
            case TimerInput() if given.at < state.starts_at:
                starts_at = state.starts_at.isoformat()
                return [Send("bookings.request-reminder", state.booking_id, {"starts_at": starts_at}, starts_at)]
            case EventInput() | OperatorInput() if state.over:
                return [Done("not reminded" if state.reminded_of is None else "reminded")]
        return []

    return Rules(evolve, decide, waiting_for)


def waiting_for(state: Reminder) -> Sequence[str]:
    if not state.confirmed:
        return ["confirmation"]
    return ["end"] if state.reminded_of == state.starts_at else ["reminder"]


def process_manager(lead: timedelta) -> ProcessManager:
    return ProcessManager(
        name="appointment-reminders",
        kinds=("bookings",),
        starts=frozenset({BookingRequested}),
        correlate=correlate,
        state=Reminder,
        rules=rules(lead),
    )


PROCESS: Final = process_manager(timedelta(hours=Options().lead_hours))
