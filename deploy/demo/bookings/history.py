"""A practice's year, made by a seeded generator: the same commands each time, with what each of them must come to.

Around the days on which clocks change, in six time zones: requests, also for times that are taken, on purpose and by chance; moves by a few
minutes, onto themselves and onto others; cancellations whose time is given away again; renames. Half of the doctors and patients are
registered only after their bookings.

Commands come in blocks of one type, each more than half a message long: with a window of one message they are decided in exactly this
order, which decides who gets a time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any, Final
from zoneinfo import ZoneInfo

from deploy.demo.bookings.practice import GRID, Booking, Doctor, Practice, minute_of, utc
from deploy.sending.batches import CommandMessage, command_message

SEED: Final = 20260329
SOURCE: Final = "tidemark/demo-bookings"
MESSAGE: Final = 60
"""Commands in a message, at most."""
PATIENTS: Final = 600
DOCTORS_IN_A_ZONE: Final = 6
RACES: Final = 5
RACERS: Final = 50

CLOCK_CHANGES: Final = {
    "Europe/Berlin": (date(2026, 3, 29), date(2026, 10, 25)),
    "America/New_York": (date(2026, 3, 8), date(2026, 11, 1)),
    "America/Havana": (date(2026, 3, 8), date(2026, 11, 1)),
    "Australia/Lord_Howe": (date(2026, 4, 5), date(2026, 10, 4)),
    "Pacific/Auckland": (date(2026, 4, 5), date(2026, 9, 27)),
    "Asia/Kathmandu": (date(2026, 3, 29), date(2026, 10, 25)),
}
"""Zone → the days on which its clocks change; in Kathmandu they never do. In Havana midnight is skipped, or comes twice."""

SPECIALITIES: Final = ("Dermatology", "Cardiology", "Paediatrics", "Ear, nose & throat", "Ophthalmology")
FIRST: Final = (
    "Änne",
    "Bola",
    "Chloé",
    "Dmitri",
    "Eun-ji",
    "Femi",
    "Grace",
    "Hồng",
    "Ines",
    "Jürgen",
    "Kavita",
    "Luís",
)
LAST: Final = ("Müller", "Okafor", "Nguyễn", "Sánchez", "Kowalski", "Tanaka", "O’Brien", "Smith", "Gurung", "Fernández")
LENGTHS: Final = (5, 10, 10, 15, 15, 15, 15, 20, 20, 30, 30, 30, 45, 60, 90)


@dataclass(frozen=True, slots=True)
class Step:
    """A command, and the code with which it must be refused; empty: it must be accepted."""

    message: CommandMessage
    expected: str


class History:
    """``steps`` makes the commands one by one, and lets ``practice`` follow them."""

    def __init__(self, rounds: int, seed: int = SEED) -> None:
        self.practice = Practice()
        self._rounds = rounds
        self._random = Random(seed)  # noqa: S311 - the same each time, on purpose
        self._sent = 0
        self._doctors = {
            f"doctor-{zone.rpartition('/')[2].lower()}-{number}": Doctor(
                self._name("Dr "), self._random.choice(SPECIALITIES), zone
            )
            for zone in CLOCK_CHANGES
            for number in range(DOCTORS_IN_A_ZONE)
        }
        self._patients = {f"patient-{number:03}": self._name() for number in range(PATIENTS)}

    def steps(self) -> Iterator[Step]:
        yield from self._registrations(0)
        for number in range(self._rounds):
            yield from self._round(number)
        yield from self._registrations(1)
        for _ in range(2):
            yield from self._block(MESSAGE, self._rename_patient)
        yield from self._block(MESSAGE, self._rename_doctor)

    def races(self) -> list[list[CommandMessage]]:
        """For each of some doctors without other bookings RACERS requests, all of whose times have one slot in common."""
        zone = ZoneInfo("Europe/Berlin")
        noon = minute_of(datetime(2026, 3, 29, 12, tzinfo=zone))
        found = []
        for race in range(RACES):
            messages = []
            for racer in range(RACERS):
                before = GRID * self._random.randrange(12)
                length = before + GRID * self._random.randint(1, 12)
                data = {"booking_id": f"race-{race}-{racer}", "doctor_id": race_doctor(race), "minutes": length}
                data |= {"patient_id": f"racer-{race}-{racer}", "starts_at": utc(noon - before)}
                messages.append(self._message("request-booking", f"race-{race}-{racer}", data))
            found.append(messages)
        return found

    def _round(self, number: int) -> Iterator[Step]:
        yield from self._block(2 * MESSAGE, self._request_any)
        yield from self._block(MESSAGE, self._request_taken)
        yield from self._block(45, lambda: self._on("confirm-booking", self.practice.confirm, {}))
        yield from self._block(MESSAGE, self._move)
        yield from self._block(35, lambda: self._on("cancel-booking", self.practice.cancel, {"reason": "ill"}))
        if number % 3 == 1:
            yield from self._block(35, lambda: self._on("complete-booking", self.practice.complete, {}))
        if number % 6 == 2:
            yield from self._block(35, lambda: self._on("mark-no-show", self.practice.mark_no_show, {}))

    def _block(self, count: int, make: Callable[[], Step]) -> Iterator[Step]:
        for _ in range(count):
            yield make()

    def _registrations(self, half: int) -> Iterator[Step]:
        for doctor_id, doctor in list(self._doctors.items())[half::2]:
            data = {"doctor_id": doctor_id, "name": doctor.name, "speciality": doctor.speciality}
            expected = self.practice.register_doctor(doctor_id, doctor)
            yield self._step("register-doctor", doctor_id, data | {"time_zone": doctor.zone}, expected)
        for patient_id, name in list(self._patients.items())[half::2]:
            data = {"patient_id": patient_id, "name": name}
            expected = self.practice.register_patient(patient_id, name)
            yield self._step("register-patient", patient_id, data, expected)

    def _request_any(self) -> Step:
        doctor_id = self._random.choice(list(self._doctors))
        patient_id = self._random.choice(list(self._patients))
        start = self._start(self._doctors[doctor_id].zone)
        if self._random.random() < 0.01:
            start += self._random.randint(1, GRID - 1)
        return self._request(doctor_id, patient_id, start, self._random.choice(LENGTHS))

    def _request_taken(self) -> Step:
        """For a time of which another booking takes a part: of the same doctor, or of the same patient."""
        other = self._any(lambda each: each.takes_time)
        length = self._random.choice(LENGTHS)
        start = self._random.randrange(other.start - length + GRID, other.end, GRID)
        if self._random.random() < 0.6:
            return self._request(other.doctor_id, self._random.choice(list(self._patients)), start, length)
        return self._request(self._random.choice(list(self._doctors)), other.patient_id, start, length)

    def _request(self, doctor_id: str, patient_id: str, start: int, minutes: int) -> Step:
        again = self._random.random() < 0.01 and self.practice.bookings
        booking_id = self._random.choice(list(again)) if again else f"booking-{self._sent:05}"
        zone = ZoneInfo(self._doctors[doctor_id].zone)
        at = datetime.fromtimestamp(start * 60, zone).isoformat() if self._random.random() < 0.5 else utc(start)
        data = {"booking_id": booking_id, "doctor_id": doctor_id, "patient_id": patient_id, "starts_at": at}
        expected = self.practice.request(booking_id, doctor_id, patient_id, start, minutes)
        return self._step("request-booking", booking_id, data | {"minutes": minutes}, expected)

    def _move(self) -> Step:
        booking = self._any(lambda each: each.is_open or self._random.random() < 0.1)
        start, minutes, chance = booking.start, None, self._random.random()
        if chance < 0.6:  # onto a part of itself, mostly
            start += GRID * self._random.randint(-6, 6)
        elif chance < 0.8:
            start = self._start(self._doctors[booking.doctor_id].zone)
        if chance > 0.7:
            minutes = self._random.choice(LENGTHS)
        data = {"starts_at": utc(start)} | ({} if minutes is None else {"minutes": minutes})
        return self._step(
            "move-booking", booking.booking_id, data, self.practice.move(booking.booking_id, start, minutes)
        )

    def _on(self, command: str, act: Callable[[str], str], data: dict[str, Any]) -> Step:
        booking = self._any(lambda each: each.is_open or self._random.random() < 0.05)
        return self._step(command, booking.booking_id, data, act(booking.booking_id))

    def _rename_doctor(self) -> Step:
        doctor_id, name = self._random.choice(list(self._doctors)), self._name("Prof ")
        return self._step("rename-doctor", doctor_id, {"name": name}, self.practice.rename_doctor(doctor_id, name))

    def _rename_patient(self) -> Step:
        patient_id, name = self._random.choice(list(self._patients)), self._name()
        return self._step("rename-patient", patient_id, {"name": name}, self.practice.rename_patient(patient_id, name))

    def _any(self, wanted: Callable[[Booking], bool]) -> Booking:
        bookings = list(self.practice.bookings.values())
        while True:
            if wanted(found := self._random.choice(bookings)):
                return found

    def _start(self, zone: str) -> int:
        """Within a day of one on which the clocks change; local times that come twice, or never, too."""
        day = self._random.choice(CLOCK_CHANGES[zone]) + timedelta(days=self._random.choice((-1, 0, 0, 0, 1)))
        hour, minute = self._random.randrange(24), GRID * self._random.randrange(60 // GRID)
        local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=ZoneInfo(zone))
        return minute_of(local.replace(fold=self._random.randrange(2)).astimezone(UTC))

    def _name(self, title: str = "") -> str:
        return f"{title}{self._random.choice(FIRST)} {self._random.choice(LAST)}"

    def _step(self, command: str, subject: str, data: dict[str, Any], expected: str) -> Step:
        return Step(self._message(command, subject, data), expected)

    def _message(self, command: str, subject: str, data: dict[str, Any]) -> CommandMessage:
        self._sent += 1
        return command_message(f"bookings.{command}", f"demo-{self._sent}", data, source=SOURCE, subject=subject)


def race_doctor(race: int) -> str:
    return f"doctor-race-{race}"
