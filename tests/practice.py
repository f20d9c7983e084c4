"""Events of a doctor's practice, for tests: each builder gives what a test does not care about a plain value."""

from datetime import UTC, datetime, timedelta

from shared.contracts.bookings import (
    BookingCancelled,
    BookingCompleted,
    BookingConfirmed,
    BookingMoved,
    BookingRequested,
    DoctorRegistered,
    DoctorRenamed,
    NoShowMarked,
    PatientRegistered,
    PatientRenamed,
    ReminderRequested,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NINE = datetime(2026, 3, 30, 9, tzinfo=UTC)


def doctor(
    doctor_id: str = "d-1", *, name: str = "Dr Ann", speciality: str | None = "Dermatology", zone: str = "Europe/Berlin"
) -> DoctorRegistered:
    return DoctorRegistered(doctor_id=doctor_id, name=name, speciality=speciality, time_zone=zone, registered_at=NOON)


def doctor_renamed(
    doctor_id: str = "d-1", *, name: str = "Dr Bea", speciality: str | None = "Dermatology"
) -> DoctorRenamed:
    return DoctorRenamed(doctor_id=doctor_id, name=name, previous_name="Dr Ann", speciality=speciality, renamed_at=NOON)


def patient(patient_id: str = "p-1", *, name: str = "Paul") -> PatientRegistered:
    return PatientRegistered(patient_id=patient_id, name=name, email="paul@example.org", registered_at=NOON)


def patient_renamed(patient_id: str = "p-1", *, name: str = "Paula") -> PatientRenamed:
    return PatientRenamed(patient_id=patient_id, name=name, previous_name="Paul", renamed_at=NOON)


def requested(
    booking_id: str = "b-1",
    *,
    patient_id: str = "p-1",
    doctor_id: str = "d-1",
    starts_at: datetime = NINE,
    minutes: int = 15,
) -> BookingRequested:
    return BookingRequested(
        booking_id=booking_id,
        patient_id=patient_id,
        doctor_id=doctor_id,
        starts_at=starts_at,
        ends_at=starts_at + timedelta(minutes=minutes),
        requested_at=NOON,
    )


def confirmed(booking_id: str = "b-1") -> BookingConfirmed:
    return BookingConfirmed(booking_id=booking_id, confirmed_at=NOON)


def moved(booking: BookingRequested, *, starts_at: datetime, minutes: int = 15) -> BookingMoved:
    return BookingMoved(
        booking_id=booking.booking_id,
        patient_id=booking.patient_id,
        doctor_id=booking.doctor_id,
        starts_at=starts_at,
        ends_at=starts_at + timedelta(minutes=minutes),
        previous_starts_at=booking.starts_at,
        previous_ends_at=booking.ends_at,
        moved_at=NOON,
    )


def cancelled(booking: BookingRequested, *, reason: str = "ill") -> BookingCancelled:
    return BookingCancelled(
        booking_id=booking.booking_id,
        patient_id=booking.patient_id,
        doctor_id=booking.doctor_id,
        starts_at=booking.starts_at,
        ends_at=booking.ends_at,
        reason=reason,
        cancelled_at=NOON,
    )


def completed(booking_id: str = "b-1") -> BookingCompleted:
    return BookingCompleted(booking_id=booking_id, completed_at=NOON)


def no_show(booking_id: str = "b-1") -> NoShowMarked:
    return NoShowMarked(booking_id=booking_id, marked_at=NOON)


def reminded(booking: BookingRequested, *, starts_at: datetime | None = None) -> ReminderRequested:
    return ReminderRequested(
        booking_id=booking.booking_id,
        patient_id=booking.patient_id,
        doctor_id=booking.doctor_id,
        starts_at=starts_at or booking.starts_at,
        requested_at=NOON,
    )
