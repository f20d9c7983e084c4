"""Doctors, patients and bookings: the states of a booking, what it claims, and which times are allowed."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import available_timezones

import pytest
from pydantic import TypeAdapter, ValidationError

from command_service.domain import bookings, doctors, patients
from command_service.domain.aggregate import Refused
from shared.contracts.bookings import (
    BookingMoved,
    BookingRequested,
    BookingStatus,
    CancelBooking,
    CompleteBooking,
    ConfirmBooking,
    DoctorRegistered,
    DoctorRenamed,
    MarkNoShow,
    MoveBooking,
    RegisterDoctor,
    RegisterPatient,
    RenameDoctor,
    RenamePatient,
    RequestBooking,
    RequestReminder,
)
from shared.contracts.validation_errors import describe
from shared.contracts.values import TimeZone

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NINE = datetime(2026, 3, 30, 9, tzinfo=UTC)
REQUEST = RequestBooking(booking_id="b-1", patient_id="p-1", doctor_id="d-1", starts_at=NINE, minutes=15)
CANCEL = CancelBooking(reason="ill")
CONFIRM, COMPLETE, NO_SHOW = ConfirmBooking(), CompleteBooking(), MarkNoShow()
REMIND = RequestReminder(starts_at=NINE)


def booking(*commands: Any) -> bookings.Booking | None:
    state: bookings.Booking | None = None
    for command in commands:
        for event in bookings.decide(state, command, NOW):
            state = bookings.evolve(state, event)
    return state


def taken(event: Any) -> list[tuple[str, str]]:
    return [(claim.scope, claim.value) for claim in bookings.claims(event).take]


def at(minute: int, *, minutes: int | None = None) -> MoveBooking:
    return MoveBooking(starts_at=NINE + timedelta(minutes=minute), minutes=minutes)


@pytest.mark.parametrize(
    ("commands", "status"),
    [
        ([REQUEST], BookingStatus.PENDING),
        ([REQUEST, CONFIRM], BookingStatus.CONFIRMED),
        ([REQUEST, CONFIRM, COMPLETE], BookingStatus.COMPLETED),
        ([REQUEST, CONFIRM, NO_SHOW], BookingStatus.NO_SHOW),
        ([REQUEST, CANCEL], BookingStatus.CANCELLED),
        ([REQUEST, CONFIRM, CANCEL], BookingStatus.CANCELLED),
        ([REQUEST, CONFIRM, at(5)], BookingStatus.CONFIRMED),
        ([REQUEST, CONFIRM, REMIND], BookingStatus.CONFIRMED),
    ],
)
def test_a_booking_goes_from_pending_to_its_end(commands: list[Any], status: BookingStatus) -> None:
    state = booking(*commands)
    assert state is not None
    assert state.status is status


@pytest.mark.parametrize(
    ("before", "command", "code"),
    [
        ([], CONFIRM, "booking-not-found"),
        ([REQUEST], REQUEST, "booking-already-requested"),
        ([REQUEST], COMPLETE, "invalid-booking-transition"),
        ([REQUEST], NO_SHOW, "invalid-booking-transition"),
        ([REQUEST, CONFIRM], CONFIRM, "invalid-booking-transition"),
        ([REQUEST, CANCEL], at(5), "invalid-booking-transition"),
        ([REQUEST, CANCEL], CANCEL, "invalid-booking-transition"),
        ([REQUEST, CONFIRM, COMPLETE], CANCEL, "invalid-booking-transition"),
        ([REQUEST, CONFIRM, COMPLETE], at(5), "invalid-booking-transition"),
        ([REQUEST, CONFIRM, NO_SHOW], COMPLETE, "invalid-booking-transition"),
        ([REQUEST], REMIND, "invalid-booking-transition"),
        ([REQUEST, CONFIRM, CANCEL], REMIND, "invalid-booking-transition"),
        ([REQUEST, CONFIRM, at(5)], REMIND, "reminder-outdated"),
    ],
)
def test_what_its_status_does_not_allow_is_refused(before: list[Any], command: Any, code: str) -> None:
    with pytest.raises(Refused) as refused:
        bookings.decide(booking(*before), command, NOW)
    assert refused.value.code == code


def test_a_booking_claims_each_slot_of_its_time_for_its_doctor_and_its_patient() -> None:
    (requested,) = bookings.decide(None, REQUEST, NOW)
    assert isinstance(requested, BookingRequested)
    assert requested.ends_at == NINE + timedelta(minutes=15)
    slots = ["2026-03-30T09:00Z", "2026-03-30T09:05Z", "2026-03-30T09:10Z"]
    assert taken(requested) == [
        *(("doctor-slot", f"d-1@{slot}") for slot in slots),
        *(("patient-slot", f"p-1@{slot}") for slot in slots),
    ]
    assert [claim.code for claim in bookings.claims(requested).take] == ["slot-taken"] * 3 + ["patient-busy"] * 3
    (cancelled,) = bookings.decide(booking(REQUEST), CANCEL, NOW)
    assert list(bookings.claims(cancelled).release) == taken(requested)


def test_a_move_releases_and_takes_only_where_the_times_differ() -> None:
    (moved,) = bookings.decide(booking(REQUEST), at(5, minutes=20), NOW)
    assert isinstance(moved, BookingMoved)
    assert (moved.previous_starts_at, moved.starts_at, moved.ends_at) == (
        NINE,
        NINE + timedelta(minutes=5),
        NINE + timedelta(minutes=25),
    )
    claims = bookings.claims(moved)
    assert list(claims.release) == [("doctor-slot", "d-1@2026-03-30T09:00Z"), ("patient-slot", "p-1@2026-03-30T09:00Z")]
    assert [value for scope, value in taken(moved) if scope == "doctor-slot"] == [
        "d-1@2026-03-30T09:15Z",
        "d-1@2026-03-30T09:20Z",
    ]


def test_a_move_keeps_the_length_unless_it_says_another() -> None:
    moved = booking(REQUEST, at(60))
    assert moved is not None
    assert moved.ends_at - moved.starts_at == timedelta(minutes=15)
    assert bookings.decide(booking(REQUEST), at(0), NOW) == []
    shorter = booking(REQUEST, at(0, minutes=5))
    assert shorter is not None
    assert shorter.ends_at == NINE + timedelta(minutes=5)


@pytest.mark.parametrize("command", [CONFIRM, COMPLETE, NO_SHOW])
def test_only_a_cancellation_frees_time(command: Any) -> None:
    state = booking(REQUEST) if command is CONFIRM else booking(REQUEST, CONFIRM)
    (event,) = bookings.decide(state, command, NOW)
    assert bookings.claims(event).release == ()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("starts_at", "2026-03-30T09:01:00Z", "grid of 5 minutes"),
        ("starts_at", "2026-03-30T09:00:30Z", "grid of 5 minutes"),
        ("starts_at", "2026-03-30T09:00:00.5Z", "grid of 5 minutes"),
        ("starts_at", "2199-12-31T16:00:00Z", "before 2199-12-31T16:00:00Z"),
        ("starts_at", "2026-03-30T09:00:00", "with a time zone"),
        ("minutes", 7, "a multiple of 5 is needed; 7 came"),
        ("minutes", 0, "at least 5"),
        ("minutes", 485, "at most 480"),
        ("minutes", 481, "at most 480 is possible; 481 came"),
        ("minutes", 1, "at least 5 is needed; 1 came"),
        ("minutes", "15", "a whole number"),
    ],
)
def test_times_off_the_grid_and_lengths_out_of_bounds_are_refused(field: str, value: object, message: str) -> None:
    data = {"booking_id": "b", "patient_id": "p", "doctor_id": "d", "starts_at": "2026-03-30T09:00:00Z", "minutes": 15}
    with pytest.raises(ValidationError) as caught:
        RequestBooking.model_validate(data | {field: value})
    (error,) = describe(caught.value, RequestBooking)
    assert error["field"] == field
    assert message in error["message"]


def test_the_last_time_that_can_be_booked_is_a_time_that_events_can_hold() -> None:
    last = REQUEST.model_validate(dict(REQUEST) | {"starts_at": "2199-12-31T15:55:00Z", "minutes": 480})
    (requested,) = bookings.decide(None, last, NOW)
    assert isinstance(requested, BookingRequested)
    assert requested.ends_at == datetime(2199, 12, 31, 23, 55, tzinfo=UTC)


def test_every_name_of_the_iana_database_is_a_zone() -> None:
    zone: TypeAdapter[str] = TypeAdapter(TimeZone)
    names = available_timezones() - {"localtime"}
    assert {"GMT", "Japan", "EST5EDT", "W-SU", "Etc/GMT+5"} < names
    assert {name for name in names if zone.validate_python(name) != name} == set()


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/Argentina/Ushuaia", "Japan", "Etc/GMT+5", "UTC"])
def test_a_doctor_has_a_zone_of_the_iana_database(zone: str) -> None:
    (registered,) = doctors.decide(None, RegisterDoctor(doctor_id="d", name="Dr Ann", time_zone=zone), NOW)
    assert isinstance(registered, DoctorRegistered)
    assert registered.time_zone == zone


@pytest.mark.parametrize(
    "zone",
    [
        "Europe/Atlantis",
        "America/Argentina",
        "Atlantis",
        "localtime",
        "posix/UTC",
        "+02:00",
        "../etc/passwd",
        "Etc/../UTC",
        "",
        "x" * 99,
    ],
)
def test_what_is_no_zone_is_refused(zone: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RegisterDoctor.model_validate({"doctor_id": "d", "name": "Dr Ann", "time_zone": zone})
    (error,) = describe(caught.value, RegisterDoctor)
    assert "IANA name, like Europe/Berlin" in error["message"]


def test_doctors_and_patients_are_registered_once_and_renamed() -> None:
    (registered,) = doctors.decide(None, RegisterDoctor(doctor_id="d", name="Dr Ann"), NOW)
    doctor = doctors.evolve(None, registered)
    assert isinstance(registered, DoctorRegistered)
    assert registered.time_zone == "UTC"
    (renamed,) = doctors.decide(doctor, RenameDoctor(name="Dr Bea"), NOW)
    assert isinstance(renamed, DoctorRenamed)
    assert (renamed.name, renamed.previous_name) == ("Dr Bea", "Dr Ann")
    assert doctors.decide(doctors.evolve(doctor, renamed), RenameDoctor(name="Dr Bea"), NOW) == []
    patient = patients.evolve(None, patients.decide(None, RegisterPatient(patient_id="p", name="Paul"), NOW)[0])
    assert patients.decide(patient, RenamePatient(name="Paul"), NOW) == []
    for module, state, command, code in [
        (doctors, doctor, RegisterDoctor(doctor_id="d", name="x"), "doctor-already-registered"),
        (doctors, None, RenameDoctor(name="x"), "doctor-not-found"),
        (patients, patient, RegisterPatient(patient_id="p", name="x"), "patient-already-registered"),
        (patients, None, RenamePatient(name="x"), "patient-not-found"),
    ]:
        with pytest.raises(Refused) as refused:
            module.decide(state, command, NOW)
        assert refused.value.code == code
