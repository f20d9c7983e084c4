"""A practice in the summary: a document of each doctor, patient and booking. The names on a booking are joined when it is read."""

from typing import Final

from projectors.models.summary.documents import Documents, Rule
from projectors.stores.folding import Fields
from shared.contracts.bookings import (
    BookingCancelled,
    BookingCompleted,
    BookingConfirmed,
    BookingMoved,
    BookingRequested,
    BookingStatus,
    DoctorRegistered,
    DoctorRenamed,
    NoShowMarked,
    PatientRegistered,
    PatientRenamed,
    ReminderRequested,
)

CREATE_DOCTORS: Final = """
INSERT INTO doctors (doctor_id, name, time_zone, version, doc)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::jsonb[])
ON CONFLICT (doctor_id) DO UPDATE SET
    name = excluded.name,
    time_zone = excluded.time_zone,
    version = excluded.version,
    doc = excluded.doc
"""

CHANGE_DOCTORS: Final = """
UPDATE doctors SET
    name = coalesce(fields ->> 'name', doctors.name),
    version = (fields ->> 'version')::bigint,
    doc = doc || fields
FROM unnest($1::text[], $2::jsonb[]) AS changed (doctor_id, fields)
WHERE doctors.doctor_id = changed.doctor_id
RETURNING doctors.doctor_id
"""

ERASE_DOCTORS: Final = """
UPDATE doctors SET name = '[erased]', doc = erased(doc, '{name,email}') WHERE doctor_id = ANY ($1::text[])
"""

CREATE_PATIENTS: Final = """
INSERT INTO patients (patient_id, name, version, doc)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::jsonb[])
ON CONFLICT (patient_id) DO UPDATE SET name = excluded.name, version = excluded.version, doc = excluded.doc
"""

CHANGE_PATIENTS: Final = """
UPDATE patients SET
    name = coalesce(fields ->> 'name', patients.name),
    version = (fields ->> 'version')::bigint,
    doc = doc || fields
FROM unnest($1::text[], $2::jsonb[]) AS changed (patient_id, fields)
WHERE patients.patient_id = changed.patient_id
RETURNING patients.patient_id
"""

ERASE_PATIENTS: Final = """
UPDATE patients SET name = '[erased]', doc = erased(doc, '{name,email}') WHERE patient_id = ANY ($1::text[])
"""

CREATE_BOOKINGS: Final = """
INSERT INTO bookings (booking_id, patient_id, doctor_id, status, starts_at, ends_at, version, doc)
SELECT * FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::bigint[], $8::jsonb[]
)
ON CONFLICT (booking_id) DO UPDATE SET
    patient_id = excluded.patient_id,
    doctor_id = excluded.doctor_id,
    status = excluded.status,
    starts_at = excluded.starts_at,
    ends_at = excluded.ends_at,
    version = excluded.version,
    doc = excluded.doc
"""

# No event changes a booking's doctor or patient.
CHANGE_BOOKINGS: Final = """
UPDATE bookings SET
    status = coalesce(fields ->> 'status', bookings.status),
    starts_at = coalesce((fields ->> 'starts_at')::timestamptz, bookings.starts_at),
    ends_at = coalesce((fields ->> 'ends_at')::timestamptz, bookings.ends_at),
    version = (fields ->> 'version')::bigint,
    doc = doc || fields
FROM unnest($1::text[], $2::jsonb[]) AS changed (booking_id, fields)
WHERE bookings.booking_id = changed.booking_id
RETURNING bookings.booking_id
"""


def _doctor_registered(data: DoctorRegistered) -> Fields:
    return {
        "doctor_id": data.doctor_id,
        "name": data.name,
        "speciality": data.speciality,
        "time_zone": data.time_zone,
        "registered_at": data.registered_at,
    }


def _patient_registered(data: PatientRegistered) -> Fields:
    return {
        "patient_id": data.patient_id,
        "name": data.name,
        "email": data.email,
        "registered_at": data.registered_at,
    }


def _renamed(data: DoctorRenamed | PatientRenamed) -> Fields:
    return {"name": data.name}


def _requested(data: BookingRequested) -> Fields:
    return {
        "booking_id": data.booking_id,
        "patient_id": data.patient_id,
        "doctor_id": data.doctor_id,
        "status": BookingStatus.PENDING.value,
        "starts_at": data.starts_at,
        "ends_at": data.ends_at,
        "requested_at": data.requested_at,
        "confirmed_at": None,
        "completed_at": None,
        "no_show_at": None,
        "cancelled_at": None,
        "cancellation_reason": None,
    }


def _confirmed(data: BookingConfirmed) -> Fields:
    return {"status": BookingStatus.CONFIRMED.value, "confirmed_at": data.confirmed_at}


def _moved(data: BookingMoved) -> Fields:
    return {"starts_at": data.starts_at, "ends_at": data.ends_at}


def _cancelled(data: BookingCancelled) -> Fields:
    return {
        "status": BookingStatus.CANCELLED.value,
        "cancelled_at": data.cancelled_at,
        "cancellation_reason": data.reason,
    }


def _completed(data: BookingCompleted) -> Fields:
    return {"status": BookingStatus.COMPLETED.value, "completed_at": data.completed_at}


def _no_show(data: NoShowMarked) -> Fields:
    return {"status": BookingStatus.NO_SHOW.value, "no_show_at": data.marked_at}


def _reminder_requested(data: ReminderRequested) -> Fields:
    return {"reminded_at": data.requested_at}


DOCTORS: Final = Documents(
    name="doctors",
    columns=("doctor_id", "name", "time_zone", "version"),
    create=CREATE_DOCTORS,
    change=CHANGE_DOCTORS,
    erase=ERASE_DOCTORS,
    rules={
        DoctorRegistered: Rule("registered_at", _doctor_registered, creates=True),
        DoctorRenamed: Rule("renamed_at", _renamed),
    },
)
PATIENTS: Final = Documents(
    name="patients",
    columns=("patient_id", "name", "version"),
    create=CREATE_PATIENTS,
    change=CHANGE_PATIENTS,
    erase=ERASE_PATIENTS,
    rules={
        PatientRegistered: Rule("registered_at", _patient_registered, creates=True),
        PatientRenamed: Rule("renamed_at", _renamed),
    },
)
BOOKINGS: Final = Documents(
    name="bookings",
    columns=("booking_id", "patient_id", "doctor_id", "status", "starts_at", "ends_at", "version"),
    create=CREATE_BOOKINGS,
    change=CHANGE_BOOKINGS,
    rules={
        BookingRequested: Rule("requested_at", _requested, creates=True),
        BookingConfirmed: Rule("confirmed_at", _confirmed),
        BookingMoved: Rule("moved_at", _moved),
        BookingCancelled: Rule("cancelled_at", _cancelled),
        BookingCompleted: Rule("completed_at", _completed),
        NoShowMarked: Rule("marked_at", _no_show),
        ReminderRequested: Rule("requested_at", _reminder_requested),
    },
)
