"""Bookings of a doctor's practice: doctors, patients, and bookings, each a stream of its own.

Times lie on a grid of SLOT, counted from midnight UTC; a booking occupies ``[starts_at, ends_at)``. A doctor's zone says which of these
times are a day for the practice: local days may have 23 or 25 hours.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, Field, Strict

from shared.contracts.refusals import Refusal, Retry
from shared.contracts.values import (
    LATEST,
    CommandData,
    Email,
    EventData,
    EventTime,
    Id,
    Label,
    MultipleOf,
    Name,
    Text,
    Timestamp,
    TimeZone,
    Upcaster,
)
from shared.privacy.marks import Personal

SLOT_MINUTES: Final = 5
SLOT: Final = timedelta(minutes=SLOT_MINUTES)
MAX_MINUTES: Final = 480
"""The longest booking."""
UTC_ZONE: Final = "UTC"
"""The zone of a doctor who is registered without one, or not registered yet."""

_LAST_START: Final = LATEST - timedelta(minutes=MAX_MINUTES)
"""Exclusive, so that every booking's end is a ``Timestamp``."""


class BookingStatus(StrEnum):
    """pending → confirmed → completed or no-show; a pending or confirmed one can be cancelled."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    COMPLETED = "completed"
    NO_SHOW = "no-show"
    CANCELLED = "cancelled"


OCCUPYING: Final = frozenset(BookingStatus) - {BookingStatus.CANCELLED}
"""A booking with one of these takes its time of its doctor and its patient."""


def _on_grid(value: datetime) -> datetime:
    if value.minute % SLOT_MINUTES or value.second or value.microsecond:
        raise ValueError(f"the time must lie on a grid of {SLOT_MINUTES} minutes, like 2026-03-01T09:35:00Z")
    if value >= _LAST_START:
        raise ValueError(f"the time must lie before {_LAST_START:%Y-%m-%dT%H:%M:%SZ}")
    return value


SlotStart = Annotated[Timestamp, AfterValidator(_on_grid)]
Minutes = Annotated[int, Strict(), Field(ge=SLOT_MINUTES, le=MAX_MINUTES), MultipleOf(SLOT_MINUTES)]


class RegisterDoctor(CommandData):
    personal_subject: ClassVar = ("doctors", "doctor_id")

    doctor_id: Id
    name: Personal[Name]
    speciality: Label | None = None
    time_zone: TimeZone = UTC_ZONE


class RenameDoctor(CommandData):
    personal_subject: ClassVar = ("doctors", "")

    name: Personal[Name]


class RegisterPatient(CommandData):
    personal_subject: ClassVar = ("patients", "patient_id")

    patient_id: Id
    name: Personal[Name]
    email: Personal[Email | None] = None


class RenamePatient(CommandData):
    personal_subject: ClassVar = ("patients", "")

    name: Personal[Name]


class RequestBooking(CommandData):
    """Doctor and patient may be registered later: their names are shown from then on."""

    booking_id: Id
    patient_id: Id
    doctor_id: Id
    starts_at: SlotStart
    minutes: Minutes


class ConfirmBooking(CommandData):
    pass


class MoveBooking(CommandData):
    """Without ``minutes`` the booking keeps its length."""

    starts_at: SlotStart
    minutes: Minutes | None = None


class CancelBooking(CommandData):
    reason: Annotated[Text, Field(min_length=1)]


class CompleteBooking(CommandData):
    pass


class MarkNoShow(CommandData):
    pass


class RequestReminder(CommandData):
    """Ask that patient and doctor be reminded of the booking at this time; refused if it has been moved away from it."""

    starts_at: SlotStart


class DoctorRegistered(EventData, frozen=True, kw_only=True):
    doctor_id: str
    name: Personal[str]
    speciality: str | None = None
    time_zone: str
    registered_at: EventTime


class DoctorRenamed(EventData, frozen=True, kw_only=True):
    """With the speciality, which stays: searches find a doctor by both."""

    doctor_id: str
    name: Personal[str]
    previous_name: Personal[str]
    speciality: str | None = None
    renamed_at: EventTime


class PatientRegistered(EventData, frozen=True, kw_only=True):
    patient_id: str
    name: Personal[str]
    email: Personal[str | None] = None
    registered_at: EventTime


class PatientRenamed(EventData, frozen=True, kw_only=True):
    patient_id: str
    name: Personal[str]
    previous_name: Personal[str]
    renamed_at: EventTime


class BookingRequested(EventData, frozen=True, kw_only=True):
    booking_id: str
    patient_id: str
    doctor_id: str
    starts_at: EventTime
    ends_at: EventTime
    requested_at: EventTime


class BookingConfirmed(EventData, frozen=True, kw_only=True):
    booking_id: str
    confirmed_at: EventTime


class BookingMoved(EventData, frozen=True, kw_only=True):
    """The time after and before; the status stays as it is."""

    booking_id: str
    patient_id: str
    doctor_id: str
    starts_at: EventTime
    ends_at: EventTime
    previous_starts_at: EventTime
    previous_ends_at: EventTime
    moved_at: EventTime


class BookingCancelled(EventData, frozen=True, kw_only=True):
    """With the time that is free again."""

    booking_id: str
    patient_id: str
    doctor_id: str
    starts_at: EventTime
    ends_at: EventTime
    reason: str
    cancelled_at: EventTime


class BookingCompleted(EventData, frozen=True, kw_only=True):
    booking_id: str
    completed_at: EventTime


class NoShowMarked(EventData, frozen=True, kw_only=True):
    booking_id: str
    marked_at: EventTime


class ReminderRequested(EventData, frozen=True, kw_only=True):
    """Whatever service sends messages subscribes to it: here, only the request is recorded."""

    booking_id: str
    patient_id: str
    doctor_id: str
    starts_at: EventTime
    requested_at: EventTime


KINDS: Final = ("doctors", "patients", "bookings")
"""The stream kinds of these events; a stream is ``<kind>/<id>``."""

PERSONS: Final = ("doctors", "patients")
"""The kinds whose streams are persons."""

COMMANDS: Final[Mapping[str, type[CommandData]]] = {
    "bookings.register-doctor": RegisterDoctor,
    "bookings.rename-doctor": RenameDoctor,
    "bookings.register-patient": RegisterPatient,
    "bookings.rename-patient": RenamePatient,
    "bookings.request-booking": RequestBooking,
    "bookings.confirm-booking": ConfirmBooking,
    "bookings.move-booking": MoveBooking,
    "bookings.cancel-booking": CancelBooking,
    "bookings.complete-booking": CompleteBooking,
    "bookings.mark-no-show": MarkNoShow,
    "bookings.request-reminder": RequestReminder,
}

EVENTS: Final[Mapping[type[EventData], tuple[str, int]]] = {
    DoctorRegistered: ("bookings.doctor-registered", 1),
    DoctorRenamed: ("bookings.doctor-renamed", 1),
    PatientRegistered: ("bookings.patient-registered", 1),
    PatientRenamed: ("bookings.patient-renamed", 1),
    BookingRequested: ("bookings.booking-requested", 1),
    BookingConfirmed: ("bookings.booking-confirmed", 1),
    BookingMoved: ("bookings.booking-moved", 1),
    BookingCancelled: ("bookings.booking-cancelled", 1),
    BookingCompleted: ("bookings.booking-completed", 1),
    NoShowMarked: ("bookings.no-show-marked", 1),
    ReminderRequested: ("bookings.reminder-requested", 1),
}
"""Event class → its type in messages, and the current schema version."""

UPCASTERS: Final[Mapping[tuple[str, int], Upcaster]] = {}
"""(event type, schema version) → the function that converts its data to the next schema version."""

REFUSALS: Final[Mapping[str, Refusal]] = {
    "doctor-already-registered": Refusal("There is a doctor with this id.", Retry.NEW_ID),
    "doctor-not-found": Refusal("There is no doctor with this id, or not yet.", Retry.NEW_ID),
    "patient-already-registered": Refusal("There is a patient with this id.", Retry.NEW_ID),
    "patient-not-found": Refusal("There is no patient with this id, or not yet.", Retry.NEW_ID),
    "booking-already-requested": Refusal("There is a booking with this id.", Retry.NEW_ID),
    "booking-not-found": Refusal("There is no booking with this id, or not yet.", Retry.NEW_ID),
    "invalid-booking-transition": Refusal("The booking's status does not allow it.", Retry.NEW_ID),
    "reminder-outdated": Refusal("The booking is at another time.", Retry.NEW_ID),
    "slot-taken": Refusal("The doctor has another booking in this time.", Retry.NEW_ID),
    "patient-busy": Refusal("The patient has another booking in this time.", Retry.NEW_ID),
}
