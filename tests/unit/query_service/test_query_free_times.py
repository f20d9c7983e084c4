"""Free times and local days, which have 23 to 25 hours, and sometimes none."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query_service.bookings.free_times import Span, free_times
from query_service.bookings.local_days import start_of, start_of_day
from query_service.http.parameters import EARLIEST, LATEST
from query_service.http.problems import InvalidParameterError

NINE = datetime(2026, 3, 30, 9, tzinfo=UTC)
ZONES = sorted(available_timezones() - {"localtime", "Factory", "Africa/Monrovia"})
"""Liberia was 44 minutes and 30 seconds behind until 1972, off the grid of bookings."""


def at(minute: int, second: int = 0) -> datetime:
    return NINE + timedelta(minutes=minute, seconds=second)


def span(start: int, end: int) -> Span:
    return Span(at(start), at(end))


@pytest.mark.parametrize(
    ("busy", "free"),
    [
        ([], [span(0, 60)]),
        ([span(0, 60)], []),
        ([span(-30, 90)], []),
        ([span(20, 25)], [span(0, 20), span(25, 60)]),
        ([span(20, 25), span(25, 30)], [span(0, 20), span(30, 60)]),
        ([span(50, 90), span(-5, 5)], [span(5, 50)]),
        ([span(10, 40), span(20, 30)], [span(0, 10), span(40, 60)]),
        ([span(-60, -5), span(60, 65)], [span(0, 60)]),
    ],
)
def test_what_is_busy_is_taken_out_of_the_range(busy: list[Span], free: list[Span]) -> None:
    assert list(free_times(busy, span(0, 60))) == free


def test_a_range_off_the_grid_is_narrowed_to_it_and_short_ones_are_left_out() -> None:
    assert list(free_times([], Span(at(1), at(59, 59)))) == [span(5, 55)]
    assert list(free_times([], Span(at(1), at(4)))) == []
    assert list(free_times([span(15, 20)], span(0, 60), timedelta(minutes=20))) == [span(20, 60)]


@given(
    st.lists(st.tuples(st.integers(-20, 40), st.integers(1, 20))),
    st.tuples(st.integers(-10, 30), st.integers(0, 30)),
    st.integers(1, 6),
)
def test_free_times_are_exactly_the_runs_of_free_slots_that_are_long_enough(
    taken: list[tuple[int, int]], of: tuple[int, int], least: int
) -> None:
    busy = [span(start * 5, (start + length) * 5) for start, length in taken]
    slots = range(of[0], of[0] + of[1])
    free = [slot for slot in slots if not any(start <= slot < start + length for start, length in taken)]
    runs: list[list[int]] = []
    for slot in free:
        if runs and runs[-1][-1] == slot - 1:
            runs[-1].append(slot)
        else:
            runs.append([slot])
    expected = [span(run[0] * 5, (run[-1] + 1) * 5) for run in runs if len(run) >= least]
    within = span(slots.start * 5, slots.stop * 5)
    assert list(free_times(busy, within, timedelta(minutes=5 * least))) == expected


@pytest.mark.parametrize(
    ("zone", "day", "start", "hours"),
    [
        ("UTC", "2026-03-29", "2026-03-29T00:00", 24),
        ("Europe/Berlin", "2026-03-29", "2026-03-28T23:00", 23),
        ("Europe/Berlin", "2026-10-25", "2026-10-24T22:00", 25),
        ("Australia/Lord_Howe", "2026-04-05", "2026-04-04T13:00", 24.5),
        ("Africa/Cairo", "2026-04-24", "2026-04-23T22:00", 23),  # midnight is skipped
        ("America/Havana", "2026-11-01", "2026-11-01T04:00", 25),  # midnight comes twice
        ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00", 0),  # left out
        ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00", 24),
    ],
)
def test_a_local_day_begins_and_ends_when_its_zone_says(zone: str, day: str, start: str, hours: float) -> None:
    own, local = date.fromisoformat(day), ZoneInfo(zone)
    begins, ends = start_of_day(own, local), start_of_day(own + timedelta(days=1), local)
    assert begins == datetime.fromisoformat(start).replace(tzinfo=UTC)
    assert ends - begins == timedelta(hours=hours)


@given(st.sampled_from(ZONES), st.dates(date(1970, 1, 2), date(2100, 1, 1)))
def test_days_follow_each_other_in_every_zone_and_every_moment_is_in_its_own(zone: str, day: date) -> None:
    local = ZoneInfo(zone)
    start, end = start_of_day(day, local), start_of_day(day + timedelta(days=1), local)
    assert start <= end
    assert start.minute % 5 == start.second == 0
    for moment in (start, end - timedelta(seconds=1)) if start < end else ():
        assert moment.astimezone(local).date() == day


def test_times_are_taken_as_they_are_and_days_beyond_the_calendar_are_clipped() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert start_of("from", "2026-03-29T09:00:00+02:00", berlin) == datetime(2026, 3, 29, 7, tzinfo=UTC)
    assert start_of("from", "0001-01-01", berlin) == EARLIEST
    assert start_of("to", "9999-12-31", ZoneInfo("Etc/GMT+12")) <= LATEST
    for value in ("2026-02-29", "tomorrow", "2026-03-29T09:00:00"):
        with pytest.raises(InvalidParameterError):
            start_of("from", value, berlin)
