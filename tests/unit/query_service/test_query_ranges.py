"""Time ranges: buckets without holes, and spans that cover exactly the days asked for."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query_service.analytics.ranges import (
    MAX_BUCKETS,
    Granularity,
    Range,
    RequestedRange,
    bucket_starts,
    day_range,
    days_of,
    requested_range,
    spans,
)
from query_service.http.problems import InvalidParameterError
from query_service.routes.shop.segments import requested

DAYS = st.dates(date(2024, 1, 1), date(2026, 12, 31))


def at(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def days_in(span: str) -> list[str]:
    """The days of one span, counted by the calendar and not by the code under test."""
    if len(span) == 8:
        return [span]
    first = date(int(span[:4]), int(span[4:]), 1)
    return [f"{day:%Y%m%d}" for offset in range(31) if (day := first + timedelta(offset)).month == first.month]


@given(DAYS, DAYS, DAYS, DAYS)
def test_spans_cover_every_day_that_holds_data_once_and_no_other(a: date, b: date, c: date, d: date) -> None:
    data = day_range(*(f"{day:%Y%m%d}" for day in sorted((a, b))))
    first, end = sorted((c, d))
    found = spans(Range(at(first), at(end)), data)
    wanted = [
        f"{day:%Y%m%d}"
        for offset in range((end - first).days)
        if min(a, b) <= (day := first + timedelta(offset)) <= max(a, b)
    ]
    if found == ["all"]:
        assert len(wanted) == (max(a, b) - min(a, b)).days + 1
    else:
        assert [day for span in found for day in days_in(span)] == wanted


def test_whole_months_are_taken_whole() -> None:
    data = day_range("20250101", "20261231")
    range_ = Range(at(date(2026, 1, 30)), at(date(2026, 4, 2)))
    assert spans(range_, data) == ["20260130", "20260131", "202602", "202603", "20260401"]


def test_a_range_around_all_data_is_everything() -> None:
    data = day_range("20250108", "20260310")
    assert spans(Range(at(date(1, 1, 1)), at(date(9999, 12, 31))), data) == ["all"]


@given(DAYS, st.integers(0, 400), st.sampled_from(Granularity))
def test_buckets_follow_each_other_without_holes(first: date, days: int, granularity: Granularity) -> None:
    range_ = granularity.widened(Range(at(first), at(first) + timedelta(days=days)))
    times = bucket_starts(range_, granularity)
    ends = [*times[1:], range_.end] if times else []
    assert ends == [granularity.following(time) for time in times]
    assert (times[0] if times else range_.end) == range_.start
    if granularity is not Granularity.HOUR:
        within = [day for time in times for day in days_of(time, granularity)]
        assert within == [range_.start + timedelta(days=n) for n in range((range_.end - range_.start).days)]


def test_weeks_start_on_monday_and_months_on_the_first() -> None:
    range_ = Range(at(date(2026, 2, 26)), at(date(2026, 3, 3)))
    assert bucket_starts(Granularity.WEEK.widened(range_), Granularity.WEEK) == [
        at(date(2026, 2, 23)),
        at(date(2026, 3, 2)),
    ]
    assert bucket_starts(Granularity.MONTH.widened(range_), Granularity.MONTH) == [
        at(date(2026, 2, 1)),
        at(date(2026, 3, 1)),
    ]


def test_too_many_buckets_are_refused() -> None:
    with pytest.raises(InvalidParameterError, match=str(MAX_BUCKETS)):
        bucket_starts(Range(at(date(1970, 1, 1)), at(date(2026, 1, 1))), Granularity.HOUR)


NOW = datetime(2026, 11, 30, 19, 45, tzinfo=UTC)


def open_range(first: str, last: str, granularity: Granularity, **given: datetime) -> Range:
    found = RequestedRange(given.get("start"), given.get("end")).in_buckets(day_range(first, last), granularity, NOW)
    assert found is not None
    bucket_starts(found, granularity)  # raises if there are too many
    return found


def test_one_order_of_a_far_future_costs_no_dashboard_its_answer() -> None:
    found = open_range("20260301", "21260704", Granularity.DAY)
    assert found == Range(at(date(2026, 3, 1)), at(date(2026, 12, 2)))
    assert open_range("20260301", "21260704", Granularity.MONTH).end == at(date(2027, 1, 1))
    assert open_range("20260301", "21260704", Granularity.DAY, start=at(date(2126, 7, 1))).end == at(date(2126, 7, 5))
    assert open_range("21260704", "21260704", Granularity.DAY) == Range(at(date(2126, 7, 4)), at(date(2126, 7, 5)))


def test_a_series_that_is_asked_for_without_ends_has_the_newest_buckets() -> None:
    assert open_range("20260301", "20261015", Granularity.DAY) == Range(at(date(2026, 3, 1)), at(date(2026, 10, 16)))
    found = open_range("19700101", "20261015", Granularity.DAY)
    assert found == Range(at(date(2026, 10, 16)) - timedelta(days=MAX_BUCKETS), at(date(2026, 10, 16)))
    found = open_range("20200101", "20261015", Granularity.HOUR)
    assert found.end - found.start == timedelta(hours=MAX_BUCKETS)


@given(st.dates(date(1970, 1, 1), date(2199, 12, 30)), st.integers(0, 80_000), st.sampled_from(Granularity))
def test_a_series_without_ends_is_always_answered_in_whole_buckets(
    first: date, days: int, granularity: Granularity
) -> None:
    last = min(first + timedelta(days=days), date(2199, 12, 31))
    found = open_range(f"{first:%Y%m%d}", f"{last:%Y%m%d}", granularity)
    assert found.start == granularity.floor(found.start)
    assert found.end == granularity.floor(found.end)
    assert found.start < found.end


@pytest.mark.parametrize("granularity", list(Granularity))
@pytest.mark.parametrize("end", [date(1, 1, 1), date(1990, 1, 1), date(2150, 1, 1), date(9999, 12, 1)])
def test_an_open_start_is_never_too_early(end: date, granularity: Granularity) -> None:
    edge = granularity.floor(at(end))
    found = open_range("19700101", "21990101", granularity, end=edge)
    assert found.end == edge
    assert found.start <= edge


def test_a_range_that_is_asked_for_too_widely_is_still_refused() -> None:
    given = RequestedRange(at(date(1970, 1, 1)), None)
    found = given.in_buckets(day_range("19700101", "20260101"), Granularity.HOUR, NOW)
    assert found is not None
    with pytest.raises(InvalidParameterError, match="narrow it"):
        bucket_starts(found, Granularity.HOUR)


@pytest.mark.parametrize(
    ("from_", "to", "granularity"),
    [
        ("2026-01-01T00:30:00Z", None, Granularity.HOUR),
        ("2026-01-01T01:00:00Z", None, Granularity.DAY),
        ("2026-01-01T00:00:00+02:00", None, Granularity.DAY),
        (None, "2026-01-01T00:00:00.000001Z", Granularity.DAY),
        ("2026-01-02", "2026-01-01", Granularity.DAY),
        ("2026-02-30", None, Granularity.DAY),
        ("0000-01-01", None, Granularity.DAY),
        ("yesterday", None, Granularity.DAY),
    ],
)
def test_what_is_not_on_an_edge_or_in_order_is_refused(
    from_: str | None, to: str | None, granularity: Granularity
) -> None:
    with pytest.raises(InvalidParameterError):
        requested_range(from_, to, granularity)


def test_an_offset_is_turned_into_utc() -> None:
    assert requested_range("2026-01-01T01:00:00+02:00", None, Granularity.HOUR).start == datetime(
        2025, 12, 31, 23, tzinfo=UTC
    )


def test_what_is_left_open_goes_as_far_as_there_is_data() -> None:
    data = day_range("20260105", "20260107")
    assert RequestedRange(None, None).resolve(data) == data == Range(at(date(2026, 1, 5)), at(date(2026, 1, 8)))
    assert RequestedRange(at(date(2026, 1, 6)), None).resolve(data) == Range(at(date(2026, 1, 6)), data.end)
    assert RequestedRange(at(date(2027, 1, 1)), None).resolve(data) == Range(at(date(2027, 1, 1)), at(date(2027, 1, 1)))
    assert RequestedRange(None, at(date(2020, 1, 1))).resolve(data) == Range(at(date(2020, 1, 1)), at(date(2020, 1, 1)))
    assert RequestedRange(None, None).resolve(None) is None


def test_an_open_end_of_segments_is_never_before_the_given_one() -> None:
    assert requested("9999-12-31", None) == (datetime(9999, 12, 31, tzinfo=UTC),) * 2
    assert requested(None, "1960-01-01") == (datetime(1960, 1, 1, tzinfo=UTC),) * 2
    assert requested("2026-03-01", None) == (datetime(2026, 3, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))
    with pytest.raises(InvalidParameterError, match="2026-02-01 lies before from"):
        requested("2026-03-01", "2026-02-01")
