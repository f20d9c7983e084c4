"""A booking: pending → confirmed → completed or no-show; it can be moved and cancelled until then.

No two bookings of a doctor, or of a patient, overlap: a booking claims every slot of its time, for its doctor and for its patient, until
it is cancelled or moved away. A completed booking and a no-show keep their time: it was used. Nothing is decided by the clock, so that
bookings of the past can be entered later.

Doctor and patient need not be registered: a stream is decided alone, and their facts are joined when read (deploy/decisions/0043).

Refusals: booking-already-requested, booking-not-found, invalid-booking-transition, reminder-outdated, slot-taken, patient-busy.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final, NoReturn, assert_never

from msgspec.structs import replace

from command_service.domain.aggregate import Aggregate, Claim, Claims, Refused, State
from shared.contracts.bookings import (
    SLOT,
    BookingCancelled,
    BookingCompleted,
    BookingConfirmed,
    BookingMoved,
    BookingRequested,
    BookingStatus,
    CancelBooking,
    CompleteBooking,
    ConfirmBooking,
    MarkNoShow,
    MoveBooking,
    NoShowMarked,
    ReminderRequested,
    RequestBooking,
    RequestReminder,
)
from shared.contracts.values import EventData

Command = RequestBooking | ConfirmBooking | MoveBooking | CancelBooking | CompleteBooking | MarkNoShow | RequestReminder
Event = (
    BookingRequested
    | BookingConfirmed
    | BookingMoved
    | BookingCancelled
    | BookingCompleted
    | NoShowMarked
    | ReminderRequested
)

DOCTOR_SCOPE: Final = "doctor-slot"
PATIENT_SCOPE: Final = "patient-slot"


class Booking(State, frozen=True, kw_only=True):
    booking_id: str
    patient_id: str
    doctor_id: str
    starts_at: datetime
    ends_at: datetime
    status: BookingStatus


def decide(booking: Booking | None, command: Command, now: datetime) -> Sequence[Event]:
    if isinstance(command, RequestBooking):
        if booking is not None:
            raise Refused("booking-already-requested", f"booking {command.booking_id} has already been requested")
        return [_requested(command, now)]
    if booking is None:
        raise Refused("booking-not-found", "there is no such booking")
    match command, booking.status:
        case ConfirmBooking(), BookingStatus.PENDING:
            return [BookingConfirmed(booking_id=booking.booking_id, confirmed_at=now)]
        case MoveBooking(), (BookingStatus.PENDING | BookingStatus.CONFIRMED):
            return _moved(booking, command, now)
        case CancelBooking(), (BookingStatus.PENDING | BookingStatus.CONFIRMED):
            return [_cancelled(booking, command, now)]
        case CompleteBooking(), BookingStatus.CONFIRMED:
            return [BookingCompleted(booking_id=booking.booking_id, completed_at=now)]
        case MarkNoShow(), BookingStatus.CONFIRMED:
            return [NoShowMarked(booking_id=booking.booking_id, marked_at=now)]
        case RequestReminder(), BookingStatus.CONFIRMED:
            return [_reminder(booking, command, now)]
        case _:
            _invalid(command, booking.status)


def evolve(booking: Booking | None, event: Event) -> Booking:
    if isinstance(event, BookingRequested):
        return Booking(
            booking_id=event.booking_id,
            patient_id=event.patient_id,
            doctor_id=event.doctor_id,
            starts_at=event.starts_at,
            ends_at=event.ends_at,
            status=BookingStatus.PENDING,
        )
    if booking is None:
        raise ValueError(f"{type(event).__name__} cannot begin a booking")
    match event:
        case BookingConfirmed():
            return replace(booking, status=BookingStatus.CONFIRMED)
        case BookingMoved():
            return replace(booking, starts_at=event.starts_at, ends_at=event.ends_at)
        case BookingCancelled():
            return replace(booking, status=BookingStatus.CANCELLED)
        case BookingCompleted():
            return replace(booking, status=BookingStatus.COMPLETED)
        case NoShowMarked():
            return replace(booking, status=BookingStatus.NO_SHOW)
        case ReminderRequested():
            return booking
        case _:
            assert_never(event)


def claims(event: EventData) -> Claims:
    match event:
        case BookingRequested():
            return Claims(take=_taken(event, _slots(event.starts_at, event.ends_at)))
        case BookingMoved():
            before = _slots(event.previous_starts_at, event.previous_ends_at)
            after = _slots(event.starts_at, event.ends_at)
            # A slot that it had and keeps is neither released nor taken.
            return Claims(
                take=_taken(event, [slot for slot in after if slot not in before]),
                release=_released(event, [slot for slot in before if slot not in after]),
            )
        case BookingCancelled():
            return Claims(release=_released(event, _slots(event.starts_at, event.ends_at)))
        case _:
            return Claims()


@lru_cache(256)  # a command is decided twice, as a rule: its claims have to be loaded in between
def _slots(starts_at: datetime, ends_at: datetime) -> Mapping[str, None]:
    """The slots of this time, by their starts in UTC, in order."""
    return dict.fromkeys(f"{start.isoformat()[:16]}Z" for start in _starts(starts_at, ends_at))


def _starts(starts_at: datetime, ends_at: datetime) -> Iterator[datetime]:
    while starts_at < ends_at:
        yield starts_at
        starts_at += SLOT


def _taken(event: BookingRequested | BookingMoved, slots: Iterable[str]) -> list[Claim]:
    doctor, patient = event.doctor_id, event.patient_id
    busy_doctor = f"doctor {doctor} has another booking in this time"
    busy_patient = f"patient {patient} has another booking in this time"
    return [
        *(Claim(DOCTOR_SCOPE, f"{doctor}@{slot}", "slot-taken", busy_doctor) for slot in slots),
        *(Claim(PATIENT_SCOPE, f"{patient}@{slot}", "patient-busy", busy_patient) for slot in slots),
    ]


def _released(event: BookingMoved | BookingCancelled, slots: Iterable[str]) -> list[tuple[str, str]]:
    return [
        *((DOCTOR_SCOPE, f"{event.doctor_id}@{slot}") for slot in slots),
        *((PATIENT_SCOPE, f"{event.patient_id}@{slot}") for slot in slots),
    ]


def _requested(command: RequestBooking, now: datetime) -> BookingRequested:
    return BookingRequested(
        booking_id=command.booking_id,
        patient_id=command.patient_id,
        doctor_id=command.doctor_id,
        starts_at=command.starts_at,
        ends_at=command.starts_at + timedelta(minutes=command.minutes),
        requested_at=now,
    )


def _moved(booking: Booking, command: MoveBooking, now: datetime) -> Sequence[BookingMoved]:
    length = booking.ends_at - booking.starts_at if command.minutes is None else timedelta(minutes=command.minutes)
    starts_at, ends_at = command.starts_at, command.starts_at + length
    if (starts_at, ends_at) == (booking.starts_at, booking.ends_at):
        return []
    return [
        BookingMoved(
            booking_id=booking.booking_id,
            patient_id=booking.patient_id,
            doctor_id=booking.doctor_id,
            starts_at=starts_at,
            ends_at=ends_at,
            previous_starts_at=booking.starts_at,
            previous_ends_at=booking.ends_at,
            moved_at=now,
        )
    ]


def _cancelled(booking: Booking, command: CancelBooking, now: datetime) -> BookingCancelled:
    return BookingCancelled(
        booking_id=booking.booking_id,
        patient_id=booking.patient_id,
        doctor_id=booking.doctor_id,
        starts_at=booking.starts_at,
        ends_at=booking.ends_at,
        reason=command.reason,
        cancelled_at=now,
    )


def _reminder(booking: Booking, command: RequestReminder, now: datetime) -> ReminderRequested:
    if command.starts_at != booking.starts_at:
        raise Refused("reminder-outdated", f"the booking is at {booking.starts_at.isoformat()}")
    return ReminderRequested(
        booking_id=booking.booking_id,
        patient_id=booking.patient_id,
        doctor_id=booking.doctor_id,
        starts_at=booking.starts_at,
        requested_at=now,
    )


def _invalid(command: Command, status: BookingStatus) -> NoReturn:
    wish = {
        ConfirmBooking: "confirmed",
        MoveBooking: "moved",
        CancelBooking: "cancelled",
        CompleteBooking: "completed",
        MarkNoShow: "marked as a no-show",
        RequestReminder: "reminded of",
    }[type(command)]
    raise Refused("invalid-booking-transition", f"a booking that is {status} cannot be {wish}")


AGGREGATE: Final = Aggregate(
    kind="bookings",
    state=Booking,
    decide=decide,
    evolve=evolve,
    commands=frozenset(
        {
            RequestBooking,
            ConfirmBooking,
            MoveBooking,
            CancelBooking,
            CompleteBooking,
            MarkNoShow,
            RequestReminder,
        },
    ),
    creates={RequestBooking: "booking_id"},
    claims=claims,
    closed=lambda booking: booking.status in (BookingStatus.COMPLETED, BookingStatus.NO_SHOW, BookingStatus.CANCELLED),
)
