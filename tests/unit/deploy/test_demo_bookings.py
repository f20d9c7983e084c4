"""The practice's demo: its model of what is right, a history that is always the same, and a report that shows what is not."""

import json
from collections import Counter
from datetime import UTC, date, datetime
from io import StringIO
from itertools import groupby

import pytest
from rich.console import Console

from deploy.demo.bookings.flow import Expectations
from deploy.demo.bookings.history import CLOCK_CHANGES, MESSAGE, History, Step
from deploy.demo.bookings.practice import Doctor, Practice, local_day, minute_of, utc
from deploy.demo.bookings.report import Report, show
from deploy.demo.comparison import ComparedFigure
from deploy.demo.display import Display
from deploy.demo.outcomes import OutcomeRecorder
from deploy.sending.batches import command_message
from deploy.sending.outcomes import Outcome

NINE = minute_of(datetime(2026, 3, 29, 9, tzinfo=UTC))


def practice() -> Practice:
    found = Practice()
    found.register_doctor("d", Doctor("Dr Änne O’Brien", "Ear & throat", "Europe/Berlin"))
    found.register_patient("p", "Paul")
    assert found.request("b", "d", "p", NINE, 30) == ""
    return found


def test_the_model_refuses_what_overlaps_for_doctor_or_patient_and_nothing_else() -> None:
    model = practice()
    assert model.request("b2", "d", "q", NINE + 25, 5) == "slot-taken"
    assert model.request("b2", "e", "p", NINE - 5, 10) == "patient-busy"
    assert model.request("b2", "d", "p", NINE + 30, 5) == model.request("b3", "d", "p", NINE - 5, 5) == ""
    assert model.request("b4", "d", "q", NINE + 61, 5) == "validation-failed"
    assert model.move("b", NINE + 5, None) == "slot-taken"
    assert model.move("b", NINE, 25) == ""
    assert model.complete("b") == "invalid-booking-transition"
    assert model.confirm("b") == model.complete("b") == ""
    assert model.cancel("b") == "invalid-booking-transition"
    assert model.request("b5", "d", "q", NINE, 5) == "slot-taken"  # what is completed keeps its time
    assert model.cancel("b2") == model.request("b5", "d", "q", NINE + 30, 5) == ""
    assert model.move("none", NINE, None) == "booking-not-found"


def test_the_model_s_days_and_free_times_are_those_of_the_doctor_s_zone() -> None:
    model = practice()
    day = date(2026, 3, 29)
    assert [booking.booking_id for booking in model.on("d", day)] == ["b"]
    assert model.on("d", date(2026, 3, 30)) == []
    free = [(utc(start), utc(end)) for start, end in model.free("d", day)]
    assert free == [("2026-03-28T23:00:00Z", "2026-03-29T09:00:00Z"), ("2026-03-29T09:30:00Z", "2026-03-29T22:00:00Z")]
    assert [len(local_day(changes, zone)) / 60 for zone in CLOCK_CHANGES for changes in CLOCK_CHANGES[zone]] == [
        *(23, 25, 23, 25, 23, 25),
        *(24.5, 23.5, 25, 23),
        *(24, 24),
    ]
    assert model.with_word("anne") == model.with_word("o'brien".replace("'", "’")) == ["d"]
    assert model.with_word("ann") == []


def test_a_history_is_the_same_each_time_and_has_refusals_of_every_kind() -> None:
    one, other = (list(History(4).steps()) for _ in range(2))
    assert one == other
    assert one != list(History(4, seed=1).steps())
    expected = Counter(step.expected for step in one)
    assert {"", "slot-taken", "patient-busy", "invalid-booking-transition", "validation-failed"} <= set(expected)
    assert expected[""] > len(one) / 2
    moves = Counter(step.expected for step in one if step.message.type.endswith("move-booking"))
    assert moves[""] > 20
    assert moves["slot-taken"] > 0


def test_no_two_messages_whose_order_matters_fit_into_the_window_together() -> None:
    blocks = [len(list(block)) for _, block in groupby(History(6).steps(), key=lambda step: step.message.type)]
    sizes = [size for block in blocks for size in (*[MESSAGE] * (block // MESSAGE), block % MESSAGE) if size]
    # Registrations of doctors come in smaller ones: whatever is decided beside them comes to the same.
    assert [size for size in sizes if size <= MESSAGE // 2] == [18, 18]


def test_races_have_a_slot_in_common_and_differ() -> None:
    for race in History(1).races():
        data = [json.loads(message.body)["data"] for message in race]
        starts = [minute_of(datetime.fromisoformat(each["starts_at"])) for each in data]
        ends = [start + each["minutes"] for start, each in zip(starts, data, strict=True)]
        assert max(starts) < min(ends)
        assert len({*zip(starts, ends, strict=True)}) > 20
        assert len({each["patient_id"] for each in data}) == len(data) == 50


def test_an_outcome_that_the_model_did_not_expect_is_shown() -> None:
    expectations = Expectations(recorder := OutcomeRecorder(Display(Console(quiet=True), None)))
    recorder._display.begin("outcomes", 2)
    message = command_message("bookings.confirm-booking", "k", {}, source="tests", subject="b")
    assert list(expectations.noting(iter([Step(message, "slot-taken")]))) == [message]
    expectations.on_outcome(Outcome("k", "bookings.confirm-booking", accepted=True, stream="bookings/b", version=1))
    different = next(line for line in expectations.lines() if not line.equal)
    assert different.stores == {"decided": ("k: accepted, not slot-taken",)}


@pytest.mark.parametrize(
    ("found", "others", "equal"), [((("b", 1),), 0, True), ((), 0, False), ((("b", 1),), 2, False)]
)
def test_a_report_is_equal_only_where_every_line_is_and_all_rows_are_ours(
    found: tuple[object, ...], others: int, equal: bool
) -> None:
    report = Report(
        sent=2,
        accepted=1,
        rejected={"slot-taken": 1},
        examples={"slot-taken": "doctor [d] has another booking"},
        seconds=1.0,
        lag_seconds={"summary": 0.1},
        lines=[ComparedFigure("bookings", (("b", 1),), {"query": found}), ComparedFigure("doctors", 1, {"search": 1})],
        rows_of_others=others,
    )
    assert report.equal is equal
    console = Console(record=True, width=200, file=StringIO())
    show(report, console)
    assert ("NOT EQUAL" in console.export_text()) is not bool(found)
    document = json.loads(json.dumps(report.as_json()))
    assert document["equal"] is equal
    assert [figure["name"] for figure in document["figures"]] == ["bookings", "doctors"]
