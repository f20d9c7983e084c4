"""Stamps of hours, days and months are what ``strftime`` would say, with four digits for every year."""

from datetime import UTC, datetime

from hypothesis import example, given
from hypothesis import strategies as st

from shared.views.analytics import day_of, hour_of, month_of


@given(st.datetimes(timezones=st.just(UTC)))
@example(datetime(1, 1, 1, tzinfo=UTC))
@example(datetime(999, 12, 31, 23, 59, tzinfo=UTC))
@example(datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC))
def test_stamps_are_those_of_the_calendar(time: datetime) -> None:
    year = f"{time.year:04}"
    assert month_of(time) == year + time.strftime("%m")
    assert day_of(time) == year + time.strftime("%m%d")
    assert hour_of(time) == year + time.strftime("%m%d%H")


@given(st.lists(st.datetimes(timezones=st.just(UTC)), min_size=2))
def test_stamps_are_in_the_order_of_time(times: list[datetime]) -> None:
    assert sorted(times, key=hour_of) == sorted(times, key=lambda time: (time.date(), time.hour))
