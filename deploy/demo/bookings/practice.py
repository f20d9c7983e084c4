"""A practice in plain Python: what each command must come to, and what is true after it. None of the product's own code decides here.

Times are minutes since 1970 in UTC. Overlaps are found by comparing every pair of times; local days and free times minute by minute.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

ACCEPTED = ""
GRID = 5
LONGEST = 480


@dataclass(slots=True)
class Doctor:
    name: str
    speciality: str
    zone: str


@dataclass(slots=True)
class Booking:
    booking_id: str
    doctor_id: str
    patient_id: str
    start: int
    end: int
    status: str = "pending"

    @property
    def is_open(self) -> bool:
        return self.status in ("pending", "confirmed")

    @property
    def takes_time(self) -> bool:
        return self.status != "cancelled"

    def overlaps(self, start: int, end: int) -> bool:
        return self.start < end and start < self.end


@dataclass(slots=True)
class Practice:
    """Each method is a command, and returns the code with which it must be refused; ACCEPTED: it is not."""

    doctors: dict[str, Doctor] = field(default_factory=dict)
    patients: dict[str, str] = field(default_factory=dict)
    """Id → name."""
    bookings: dict[str, Booking] = field(default_factory=dict)
    _of_doctor: dict[str, list[Booking]] = field(default_factory=lambda: defaultdict(list))
    _of_patient: dict[str, list[Booking]] = field(default_factory=lambda: defaultdict(list))

    def register_doctor(self, doctor_id: str, doctor: Doctor) -> str:
        if doctor_id in self.doctors:
            return "doctor-already-registered"
        self.doctors[doctor_id] = doctor
        return ACCEPTED

    def register_patient(self, patient_id: str, name: str) -> str:
        if patient_id in self.patients:
            return "patient-already-registered"
        self.patients[patient_id] = name
        return ACCEPTED

    def rename_doctor(self, doctor_id: str, name: str) -> str:
        if doctor_id not in self.doctors:
            return "doctor-not-found"
        self.doctors[doctor_id].name = name
        return ACCEPTED

    def rename_patient(self, patient_id: str, name: str) -> str:
        if patient_id not in self.patients:
            return "patient-not-found"
        self.patients[patient_id] = name
        return ACCEPTED

    def request(self, booking_id: str, doctor_id: str, patient_id: str, start: int, minutes: int) -> str:
        if start % GRID or minutes % GRID or not 0 < minutes <= LONGEST:
            return "validation-failed"
        if booking_id in self.bookings:
            return "booking-already-requested"
        booking = Booking(booking_id, doctor_id, patient_id, start, start + minutes)
        if code := self._collision(booking, start, booking.end):
            return code
        self.bookings[booking_id] = booking
        self._of_doctor[doctor_id].append(booking)
        self._of_patient[patient_id].append(booking)
        return ACCEPTED

    def move(self, booking_id: str, start: int, minutes: int | None) -> str:
        booking = self.bookings.get(booking_id)
        if booking is None:
            return "booking-not-found"
        if not booking.is_open:
            return "invalid-booking-transition"
        end = start + (booking.end - booking.start if minutes is None else minutes)
        if code := self._collision(booking, start, end):
            return code
        booking.start, booking.end = start, end
        return ACCEPTED

    def confirm(self, booking_id: str) -> str:
        return self._become("confirmed", booking_id, "pending")

    def complete(self, booking_id: str) -> str:
        return self._become("completed", booking_id, "confirmed")

    def mark_no_show(self, booking_id: str) -> str:
        return self._become("no-show", booking_id, "confirmed")

    def cancel(self, booking_id: str) -> str:
        return self._become("cancelled", booking_id, "pending", "confirmed")

    def taking(self, doctor_id: str) -> list[Booking]:
        """The doctor's bookings that take time."""
        return [each for each in self._of_doctor[doctor_id] if each.takes_time]

    def on(self, doctor_id: str, day: date) -> list[Booking]:
        """The doctor's bookings that start on the local day, cancelled ones too, by their start."""
        minutes = set(local_day(day, self.zone(doctor_id)))
        found = [each for each in self._of_doctor[doctor_id] if each.start in minutes]
        return sorted(found, key=lambda each: (each.start, each.booking_id))

    def free(self, doctor_id: str, day: date) -> list[tuple[int, int]]:
        """The doctor's free times of the local day, each as long as possible: (first minute, minute after the last)."""
        busy = {minute for each in self.taking(doctor_id) for minute in range(each.start, each.end)}
        spans: list[tuple[int, int]] = []
        for minute in local_day(day, self.zone(doctor_id)):
            if minute in busy:
                continue
            if spans and spans[-1][1] == minute:
                spans[-1] = (spans[-1][0], minute + 1)
            else:
                spans.append((minute, minute + 1))
        return spans

    def zone(self, doctor_id: str) -> str:
        return self.doctors[doctor_id].zone

    def with_word(self, word: str) -> list[str]:
        """The doctors whose name or speciality has this word, whatever its case and accents."""
        return sorted(
            doctor_id
            for doctor_id, doctor in self.doctors.items()
            if plain(word) in plain(f"{doctor.name} {doctor.speciality}").split()
        )

    def _become(self, status: str, booking_id: str, *before: str) -> str:
        booking = self.bookings.get(booking_id)
        if booking is None:
            return "booking-not-found"
        if booking.status not in before:
            return "invalid-booking-transition"
        booking.status = status
        return ACCEPTED

    def _collision(self, booking: Booking, start: int, end: int) -> str:
        for code, others in (
            ("slot-taken", self._of_doctor[booking.doctor_id]),
            ("patient-busy", self._of_patient[booking.patient_id]),
        ):
            if any(each is not booking and each.takes_time and each.overlaps(start, end) for each in others):
                return code
        return ACCEPTED


@cache
def local_day(day: date, zone: str) -> list[int]:
    """Every minute at which a clock in the zone shows this date."""
    local = ZoneInfo(zone)
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    around = range(minute_of(midnight - timedelta(days=1)), minute_of(midnight + timedelta(days=2)))
    return [minute for minute in around if datetime.fromtimestamp(minute * 60, local).date() == day]


def minute_of(time: datetime) -> int:
    return int(time.timestamp()) // 60


def utc(minute: int) -> str:
    return f"{datetime.fromtimestamp(minute * 60, UTC):%Y-%m-%dT%H:%M:%SZ}"


def plain(text: str) -> str:
    """Lower case, without accents."""
    return "".join(_letters(text)).lower()


def _letters(text: str) -> Iterator[str]:
    return (each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))
