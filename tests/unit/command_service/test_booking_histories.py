"""Whatever is requested, moved and cancelled at once, no two bookings of a doctor or a patient overlap, and free times are the rest.

Several workers read, decide and write in any interleaving, as ``handling.handler`` does: streams first, then claims, then one transaction
that compares what it was decided on. A plain model, minute by minute, says what must come out. Times lie around the two nights in which
the clocks of Berlin change.
"""

import json
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from command_service.handling.decision import Batch, ClaimKey, LoadedStreams, Outcome, StoredStream, decide
from command_service.handling.parsing import Command, Task, read
from projectors.models.summary.projection import fold
from projectors.stores.port import Advance, Event
from query_service.bookings.free_times import Span, free_times
from query_service.bookings.local_days import start_of_day
from shared.contracts.registry import event_data
from tests.personal_keys import EVERY_KEY

NOW = datetime(2026, 3, 1, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
DAYS = [date(2026, 3, 28), date(2026, 3, 29), date(2026, 3, 30), date(2026, 10, 24), date(2026, 10, 25)]
HOURS = {date(2026, 3, 29): 23, date(2026, 10, 25): 25}
MINUTE = timedelta(minutes=1)

A_DOCTOR = st.sampled_from(["d-1", "d-2"])
A_PATIENT = st.sampled_from(["p-1", "p-2", "p-3"])
A_BOOKING = st.sampled_from([f"b-{n}" for n in range(12)])
STEPS = st.lists(st.integers(0, 99), min_size=1, max_size=12)
"""Which of the workers makes a step, one after the other."""
A_START = st.builds(
    lambda day, slots: start_of_day(day, BERLIN) + slots * timedelta(minutes=5),
    st.sampled_from([date(2026, 3, 29), date(2026, 3, 30), date(2026, 10, 25)]),
    st.integers(-12, 60),
)
A_LENGTH = st.sampled_from([5, 10, 15, 60, 240, 480])


class ConflictError(Exception):
    pass


class Store:
    """The write database: one snapshot for each load, one transaction for each append."""

    def __init__(self) -> None:
        self.streams: dict[str, StoredStream] = {}
        self.claims: dict[ClaimKey, str] = {}
        self.events: dict[str, list[Event]] = {}

    def load(self, command: Command) -> LoadedStreams:
        assert isinstance(command.task, Task)
        stream = command.task.stream
        return LoadedStreams(keys=EVERY_KEY, streams={stream: self.streams[stream]} if stream in self.streams else {})

    def load_claims(self, keys: set[ClaimKey]) -> dict[ClaimKey, str | None]:
        return {key: self.claims.get(key) for key in keys}

    def append(self, batch: Batch, known: LoadedStreams) -> None:
        for stream, changed in batch.changed_streams():
            if changed.loaded != (self.streams[stream].version if stream in self.streams else 0):
                raise ConflictError
        moved = {key: holder for key, holder in batch.claims.items() if known.claims[key] != holder}
        if any(self.claims.get(key) != known.claims[key] for key in moved):
            raise ConflictError
        for stream, changed in batch.changed_streams():
            self.streams[stream] = StoredStream(changed.version, changed.state_json(stream, EVERY_KEY), 1)
        for key, holder in moved.items():
            if holder is None:
                del self.claims[key]
            else:
                self.claims[key] = holder
        for new in batch.events:
            envelope = json.loads(new.envelope)
            data = event_data(envelope["type"], envelope["schemaversion"], envelope["data"])
            event = Event(envelope["id"], new.type, new.stream, new.version, NOW, data, 0)
            self.events.setdefault(new.stream, []).append(event)


class Work:
    """One worker's unit of work on one command, step by step."""

    def __init__(self, store: Store, command: Command) -> None:
        self._store = store
        self._command = command
        self._known = store.load(command)
        self._batch: Batch | None = None

    def step(self) -> str | None:
        """The refusal's code, or "" for an acceptance, once it is written; None: there is more to do."""
        if self._batch is None:
            self._batch = decide([self._command], self._known, NOW)
            while self._batch.missing:
                self._known.claims |= self._store.load_claims(self._batch.missing)
                self._batch = decide([self._command], self._known, NOW)
            return None
        try:
            self._store.append(self._batch, self._known)
        except ConflictError:  # decide again, on what is there now
            self._known, self._batch = self._store.load(self._command), None
            return None
        (outcome,) = self._batch.results
        assert isinstance(outcome, Outcome)
        return str(json.loads(outcome.body)["data"].get("code", ""))


class BookingHistories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.store = Store()
        self.works: list[Work] = []
        self.sent = 0

    # What is sent, to workers that have not written it yet.

    @rule(booking=A_BOOKING, doctor=A_DOCTOR, patient=A_PATIENT, start=A_START, minutes=A_LENGTH)
    def a_booking_is_requested(self, booking: str, doctor: str, patient: str, start: datetime, minutes: int) -> None:
        data = {"booking_id": booking, "doctor_id": doctor, "patient_id": patient}
        self.send("request-booking", booking, data | {"starts_at": start.isoformat(), "minutes": minutes})

    @precondition(lambda self: self.store.events)
    @rule(data=st.data(), start=A_START, minutes=st.none() | A_LENGTH)
    def one_is_moved(self, data: st.DataObject, start: datetime, minutes: int | None) -> None:
        self.send("move-booking", self.one_of_them(data), {"starts_at": start.isoformat(), "minutes": minutes})

    @precondition(lambda self: self.store.events)
    @rule(data=st.data(), slots=st.integers(-3, 3))
    def one_is_moved_by_a_little(self, data: st.DataObject, slots: int) -> None:
        row = data.draw(st.sampled_from(self.bookings()))
        start = row["starts_at"] + slots * timedelta(minutes=5)
        self.send("move-booking", row["booking_id"], {"starts_at": start.isoformat()})

    @precondition(lambda self: self.store.events)
    @rule(data=st.data())
    def one_is_cancelled(self, data: st.DataObject) -> None:
        self.send("cancel-booking", self.one_of_them(data), {"reason": "ill"})

    @precondition(lambda self: self.store.events)
    @rule(data=st.data(), how=st.sampled_from(["confirm-booking", "complete-booking", "mark-no-show"]))
    def one_goes_on(self, data: st.DataObject, how: str) -> None:
        self.send(how, self.one_of_them(data), {})

    @rule(steps=STEPS)
    def workers_make_steps(self, steps: list[int]) -> None:
        for step in steps:
            if self.works:
                work = self.works[step % len(self.works)]
                if work.step() is not None:
                    self.works.remove(work)

    @rule()
    def all_workers_finish(self) -> None:
        for work in self.works:
            self.finish(work)
        self.works.clear()

    @precondition(lambda self: not self.works and self.store.events)
    @rule(data=st.data(), start=A_START, minutes=A_LENGTH)
    def a_request_alone_is_refused_exactly_if_it_overlaps(
        self, data: st.DataObject, start: datetime, minutes: int
    ) -> None:
        doctor, patient = data.draw(A_DOCTOR), data.draw(A_PATIENT)
        end = start + minutes * MINUTE
        overlapping = [row for row in self.taking() if row["starts_at"] < end and start < row["ends_at"]]
        expected = {""}
        if any(row["doctor_id"] == doctor for row in overlapping):
            expected = {"slot-taken"}
        elif any(row["patient_id"] == patient for row in overlapping):
            expected = {"patient-busy"}
        self.a_booking_is_requested(f"alone-{self.sent}", doctor, patient, start, minutes)
        assert self.finish(self.works.pop()) in expected

    def one_of_them(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.store.events))).partition("/")[2]

    def send(self, command: str, booking: str, data: dict[str, Any]) -> None:
        self.sent += 1
        envelope = {"specversion": "1.0", "id": f"k{self.sent}", "source": "tests", "type": f"bookings.{command}"}
        (part,) = read(json.dumps(envelope | {"subject": booking, "data": data}).encode()).parts
        assert isinstance(part, Command)
        self.works.append(Work(self.store, part))

    def finish(self, work: Work) -> str:
        while (code := work.step()) is None:
            pass
        return code

    # What is true at any time.

    def bookings(self) -> list[dict[str, Any]]:
        """As the summary has them."""
        advances = [Advance(stream, 0, events) for stream, events in sorted(self.store.events.items())]
        return list(fold(advances).documents["bookings"].created.values())

    def taking(self) -> list[dict[str, Any]]:
        return [row for row in self.bookings() if row["status"] != "cancelled"]

    @invariant()
    def no_two_bookings_of_a_doctor_or_a_patient_overlap(self) -> None:
        for who in ("doctor_id", "patient_id"):
            minutes: set[tuple[str, datetime]] = set()
            for row in self.taking():
                own = {
                    (row[who], row["starts_at"] + n * MINUTE)
                    for n in range((row["ends_at"] - row["starts_at"]) // MINUTE)
                }
                assert not own & minutes
                minutes |= own

    @invariant()
    def the_claims_are_those_of_the_bookings_that_take_time(self) -> None:
        slots = sum((row["ends_at"] - row["starts_at"]) // timedelta(minutes=5) for row in self.taking())
        assert len(self.store.claims) == 2 * slots
        holders = set(self.store.claims.values())
        assert holders == {f"bookings/{row['booking_id']}" for row in self.taking()}

    def teardown(self) -> None:
        for work in self.works:
            self.finish(work)
        self.no_two_bookings_of_a_doctor_or_a_patient_overlap()
        self.the_claims_are_those_of_the_bookings_that_take_time()
        self.free_times_are_the_complement_of_each_local_day()

    def free_times_are_the_complement_of_each_local_day(self) -> None:
        for doctor in ("d-1", "d-2"):
            own = [Span(row["starts_at"], row["ends_at"]) for row in self.taking() if row["doctor_id"] == doctor]
            for day in DAYS:
                within = Span(start_of_day(day, BERLIN), start_of_day(day + timedelta(days=1), BERLIN))
                hours = HOURS.get(day, 24)
                assert within.end - within.start == timedelta(hours=hours)
                minutes = [within.start + n * MINUTE for n in range(hours * 60)]
                expected = {at for at in minutes if not any(start <= at < end for start, end in own)}
                spans = list(free_times(own, within))
                free = [at for at in minutes if any(start <= at < end for start, end in spans)]
                assert set(free) == expected
                assert all(first.end < second.start for first, second in pairwise(spans))


BookingHistories.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestBookingHistories = BookingHistories.TestCase
