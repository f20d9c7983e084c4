"""A practice's documents, written by the summary's projector and returned by the query service. Times are UTC.

Tables of the summary: ``doctors``, ``patients``, ``bookings`` (``projectors/models/summary/migrations``). ``doc`` holds the fields below,
except those marked *borrowed*: they belong to other streams and are joined when read. Doctors are in the search index, too.
"""

from datetime import datetime

from pydantic import BaseModel

from shared.contracts.bookings import BookingStatus


class BookingDocument(BaseModel):
    """The content of ``bookings.doc``. A booking takes ``[starts_at, ends_at)``."""

    booking_id: str
    patient_id: str
    doctor_id: str
    status: BookingStatus
    starts_at: datetime
    ends_at: datetime
    requested_at: datetime
    confirmed_at: datetime | None = None
    completed_at: datetime | None = None
    no_show_at: datetime | None = None
    reminded_at: datetime | None = None
    cancelled_at: datetime | None = None
    cancellation_reason: str | None = None
    updated_at: datetime
    version: int


class BookingView(BookingDocument):
    patient_name: str | None = None
    """*Borrowed* from the patient; null until they are registered."""
    doctor_name: str | None = None
    """*Borrowed* from the doctor; null until they are registered."""


class DoctorView(BaseModel):
    """The content of ``doctors.doc``."""

    doctor_id: str
    name: str
    speciality: str | None = None
    time_zone: str
    """IANA name: a local day of this doctor's practice is one in this zone."""
    registered_at: datetime
    updated_at: datetime
    version: int


class PatientView(BaseModel):
    """The content of ``patients.doc``."""

    patient_id: str
    name: str
    email: str | None = None
    registered_at: datetime
    updated_at: datetime
    version: int


class FreeTime(BaseModel):
    """``[starts_at, ends_at)``: no booking of the doctor's takes any of it."""

    starts_at: datetime
    ends_at: datetime
    minutes: int


class DoctorHit(BaseModel):
    """A doctor found by a search."""

    doctor_id: str
    name: str
    speciality: str | None
    time_zone: str
    version: int
    score: float
