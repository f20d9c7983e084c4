"""A patient is registered and renamed. Refusals: patient-already-registered, patient-not-found."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from command_service.domain.aggregate import Aggregate, Refused, State
from shared.contracts.bookings import PatientRegistered, PatientRenamed, RegisterPatient, RenamePatient
from shared.privacy.marks import Personal

Command = RegisterPatient | RenamePatient
Event = PatientRegistered | PatientRenamed


class Patient(State, frozen=True, kw_only=True):
    patient_id: str
    name: Personal[str]


def decide(patient: Patient | None, command: Command, now: datetime) -> Sequence[Event]:
    if isinstance(command, RegisterPatient):
        if patient is not None:
            raise Refused("patient-already-registered", f"patient {command.patient_id} is already registered")
        return [PatientRegistered(**dict(command), registered_at=now)]
    if patient is None:
        raise Refused("patient-not-found", "there is no such patient")
    if command.name == patient.name:
        return []
    return [
        PatientRenamed(patient_id=patient.patient_id, name=command.name, previous_name=patient.name, renamed_at=now),
    ]


def evolve(patient: Patient | None, event: Event) -> Patient:
    if isinstance(event, PatientRegistered):
        return Patient(patient_id=event.patient_id, name=event.name)
    if patient is None:
        raise ValueError(f"{type(event).__name__} cannot begin a patient")
    return replace(patient, name=event.name)


AGGREGATE: Final = Aggregate(
    kind="patients",
    state=Patient,
    decide=decide,
    evolve=evolve,
    commands=frozenset({RegisterPatient, RenamePatient}),
    creates={RegisterPatient: "patient_id"},
)
