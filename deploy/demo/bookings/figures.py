"""The figures by which the practice's model and the running system are compared; both sides compute them in their own way.

A figure is a name, and what the model says; ``System`` asks the stores and the query service for the same.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from deploy.demo.bookings.history import CLOCK_CHANGES, RACES, SPECIALITIES, race_doctor
from deploy.demo.bookings.practice import Practice, local_day, utc
from deploy.demo.comparison import ComparedFigure
from deploy.demo.read_stores import ReadStores

STATUSES: Final = ("pending", "confirmed", "completed", "no-show", "cancelled")
WORDS: Final = ("muller", "Okafor", "O'Brien", "nguyen", "prof", "throat")
AT_ONCE: Final = 8
PAGE: Final = 200

COUNTS: Final = """
SELECT (SELECT count(*) FROM doctors) AS doctors, (SELECT count(*) FROM patients) AS patients,
       (SELECT count(*) FROM bookings) AS bookings
"""
BY_STATUS: Final = "SELECT status, count(*) FROM bookings WHERE NOT starts_with(doctor_id, $1) GROUP BY status"
OVERLAPPING: Final = """
SELECT count(*) FROM bookings a JOIN bookings b
    ON (a.doctor_id = b.doctor_id OR a.patient_id = b.patient_id) AND a.booking_id < b.booking_id
WHERE a.status <> 'cancelled' AND b.status <> 'cancelled' AND a.starts_at < b.ends_at AND b.starts_at < a.ends_at
"""
SEARCHED: Final = "SELECT count(*) FROM doctors"

Days = Mapping[tuple[str, date], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Answers:
    """What the system says of one kind of question, by what was asked."""

    listed: Days
    """(zone, local day) → (booking, start, status, doctor's name, patient's name) of all its doctors, as the query service lists them."""
    free: Days
    """(zone, local day) → (doctor, start, end) of all free times."""
    hours: Mapping[tuple[str, date], float]
    """How long the query service takes the local day to be."""


def expected_day(practice: Practice, zone: str, day: date) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The bookings and the free times of all doctors of a zone on a local day, by the model."""
    doctors = sorted(doctor_id for doctor_id, doctor in practice.doctors.items() if doctor.zone == zone)
    listed = tuple(
        (
            each.booking_id,
            utc(each.start),
            each.status,
            practice.doctors[doctor_id].name,
            practice.patients[each.patient_id],
        )
        for doctor_id in doctors
        for each in practice.on(doctor_id, day)
    )
    free = tuple(
        (doctor_id, utc(start), utc(end)) for doctor_id in doctors for start, end in practice.free(doctor_id, day)
    )
    return listed, free


def days() -> Iterator[tuple[str, date]]:
    for zone, changes in CLOCK_CHANGES.items():
        for day in changes:
            yield zone, day


async def compared(practice: Practice, stores: ReadStores) -> list[ComparedFigure]:
    """Every figure that reads can show, of the model and of the system."""
    answers = await _days(practice, stores)
    return [
        *await _counts(practice, stores),
        *_of_days(practice, answers),
        *await _searches(practice, stores),
        await _renamed(practice, stores),
    ]


async def winners(stores: ReadStores) -> tuple[int, ...]:
    """The bookings of each of the doctors for whom many requested the same time."""
    found = await asyncio.gather(*(_all(stores, "/bookings", doctor_id=race_doctor(race)) for race in range(RACES)))
    return tuple(map(len, found))


async def _counts(practice: Practice, stores: ReadStores) -> list[ComparedFigure]:
    [counts] = await stores.summary.fetch(COUNTS)
    [[searched]] = await stores.search.fetch(SEARCHED)
    statuses = dict(map(tuple, await stores.summary.fetch(BY_STATUS, "doctor-race-")))
    expected = Counter(booking.status for booking in practice.bookings.values())
    [[overlapping]] = await stores.summary.fetch(OVERLAPPING)
    return [
        ComparedFigure("doctors", len(practice.doctors), {"summary": counts["doctors"], "search": searched}),
        ComparedFigure("patients", len(practice.patients), {"summary": counts["patients"]}),
        ComparedFigure("bookings", len(practice.bookings) + RACES, {"summary": counts["bookings"]}),
        *(
            ComparedFigure(f"bookings that are {status}", expected[status], {"summary": statuses.get(status, 0)})
            for status in STATUSES
        ),
        ComparedFigure("pairs of bookings that overlap", 0, {"summary": overlapping}),
    ]


async def _days(practice: Practice, stores: ReadStores) -> Answers:
    listed: dict[tuple[str, date], list[Any]] = {}
    free: dict[tuple[str, date], list[Any]] = {}
    hours: dict[tuple[str, date], float] = {}
    for zone, day in days():
        within = {"from": day.isoformat(), "to": (day + timedelta(days=1)).isoformat()}
        listed[zone, day], free[zone, day] = [], []
        for doctor_id in sorted(practice.doctors):
            if practice.doctors[doctor_id].zone != zone:
                continue
            items = await _all(stores, "/bookings", doctor_id=doctor_id, **within)
            names = ("booking_id", "starts_at", "status", "doctor_name", "patient_name")
            listed[zone, day] += [tuple(item[name] for name in names) for item in items]
            answer = await stores.query.get(f"/doctors/{doctor_id}/free-times", **within)
            free[zone, day] += [(doctor_id, item["starts_at"], item["ends_at"]) for item in answer["items"]]
            length = datetime.fromisoformat(answer["to"]) - datetime.fromisoformat(answer["from"])
            hours[zone, day] = length / timedelta(hours=1)
    return Answers(listed, free, hours)


def _of_days(practice: Practice, answers: Answers) -> Iterator[ComparedFigure]:
    for zone, day in days():
        listed, free = expected_day(practice, zone, day)
        hours = len(local_day(day, zone)) / 60
        yield ComparedFigure(f"hours of {day} in {zone}", hours, {"query": answers.hours[zone, day]})
        yield ComparedFigure("  its bookings, with names", listed, {"query": tuple(answers.listed[zone, day])})
        yield ComparedFigure("  its free times", free, {"query": tuple(answers.free[zone, day])})


async def _searches(practice: Practice, stores: ReadStores) -> list[ComparedFigure]:
    figures = []
    for word in WORDS:
        found = await _all(stores, "/search/doctors", q=f'"{word}"')
        expected = practice.with_word(word.replace("'", "’"))
        figures.append(ComparedFigure(f"doctors with “{word}”", tuple(expected), {"search": _ids(found)}))
    for speciality in SPECIALITIES:
        found = await _all(stores, "/search/doctors", speciality=speciality)
        expected = sorted(each for each, doctor in practice.doctors.items() if doctor.speciality == speciality)
        figures.append(ComparedFigure(f"doctors of {speciality}", tuple(expected), {"search": _ids(found)}))
    return figures


async def _renamed(practice: Practice, stores: ReadStores) -> ComparedFigure:
    """Names of all doctors, as one by one they are read."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def name(doctor_id: str) -> tuple[str, str]:
        async with limit:
            return doctor_id, (await stores.query.get(f"/doctors/{doctor_id}"))["name"]

    found = await asyncio.gather(*map(name, sorted(practice.doctors)))
    expected = tuple((doctor_id, practice.doctors[doctor_id].name) for doctor_id in sorted(practice.doctors))
    return ComparedFigure("names of doctors", expected, {"query": tuple(found)})


async def _all(stores: ReadStores, path: str, **parameters: str) -> list[Any]:
    """The items of all pages."""
    items: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        answer = await stores.query.get(path, limit=PAGE, **parameters, **cursor)
        items += answer["items"]
        if answer["next_cursor"] is None:
            return items
        cursor = {"cursor": answer["next_cursor"]}


def _ids(hits: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(sorted(hit["doctor_id"] for hit in hits))
