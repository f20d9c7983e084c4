"""A doctor is registered, with the time zone of the practice, and renamed. Refusals: doctor-already-registered, doctor-not-found."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from command_service.domain.aggregate import Aggregate, Refused, State
from shared.contracts.bookings import DoctorRegistered, DoctorRenamed, RegisterDoctor, RenameDoctor
from shared.privacy.marks import Personal

Command = RegisterDoctor | RenameDoctor
Event = DoctorRegistered | DoctorRenamed


class Doctor(State, frozen=True, kw_only=True):
    doctor_id: str
    name: Personal[str]
    speciality: str | None


def decide(doctor: Doctor | None, command: Command, now: datetime) -> Sequence[Event]:
    if isinstance(command, RegisterDoctor):
        if doctor is not None:
            raise Refused("doctor-already-registered", f"doctor {command.doctor_id} is already registered")
        return [DoctorRegistered(**dict(command), registered_at=now)]
    if doctor is None:
        raise Refused("doctor-not-found", "there is no such doctor")
    if command.name == doctor.name:
        return []
    return [
        DoctorRenamed(
            doctor_id=doctor.doctor_id,
            name=command.name,
            previous_name=doctor.name,
            speciality=doctor.speciality,
            renamed_at=now,
        )
    ]


def evolve(doctor: Doctor | None, event: Event) -> Doctor:
    if isinstance(event, DoctorRegistered):
        return Doctor(doctor_id=event.doctor_id, name=event.name, speciality=event.speciality)
    if doctor is None:
        raise ValueError(f"{type(event).__name__} cannot begin a doctor")
    return replace(doctor, name=event.name)


AGGREGATE: Final = Aggregate(
    kind="doctors",
    state=Doctor,
    decide=decide,
    evolve=evolve,
    commands=frozenset({RegisterDoctor, RenameDoctor}),
    creates={RegisterDoctor: "doctor_id"},
)
