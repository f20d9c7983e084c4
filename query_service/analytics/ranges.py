"""Time ranges of analytics queries, as buckets and as the spans for which the store keeps sums."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, assert_never

from query_service.http.parameters import EARLIEST, parse_time
from query_service.http.problems import InvalidParameterError
from shared.views.analytics import ALL, day_of, month_of

MAX_BUCKETS: Final = 10_000
DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Range:
    """``start`` inclusive, ``end`` exclusive, both UTC; empty if they are equal."""

    start: datetime
    end: datetime

    def within(self, other: "Range") -> "Range":
        start = min(max(self.start, other.start), other.end)
        return Range(start, max(start, min(self.end, other.end)))


class Granularity(StrEnum):
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"

    def floor(self, time: datetime) -> datetime:
        """The start of the bucket that contains ``time``."""
        hour = time.replace(minute=0, second=0, microsecond=0)
        day = hour.replace(hour=0)
        match self:
            case Granularity.HOUR:
                return hour
            case Granularity.DAY:
                return day
            case Granularity.WEEK:
                return day - day.weekday() * DAY
            case Granularity.MONTH:
                return day.replace(day=1)
            case _:
                assert_never(self)

    def following(self, start: datetime) -> datetime:
        """The start of the next bucket."""
        match self:
            case Granularity.HOUR:
                return start + timedelta(hours=1)
            case Granularity.DAY:
                return start + DAY
            case Granularity.WEEK:
                return start + 7 * DAY
            case Granularity.MONTH:
                return (start.replace(day=1) + 31 * DAY).replace(day=1)
            case _:
                assert_never(self)

    def widened(self, range_: Range) -> Range:
        """The smallest range of whole buckets that contains it."""
        start, end = self.floor(range_.start), self.floor(range_.end)
        return Range(start, end if end == range_.end else self.following(end))


_EDGES: Final = {
    Granularity.HOUR: "an hour",
    Granularity.DAY: "a day",
    Granularity.WEEK: "a week, a Monday",
    Granularity.MONTH: "a month",
}


@dataclass(frozen=True, slots=True)
class RequestedRange:
    """The requested range. None means from the first day with data, or to the last; of a series of buckets see ``in_buckets``."""

    start: datetime | None
    end: datetime | None

    @property
    def complete(self) -> bool:
        """Whether both ends were given, so that the range does not depend on the data."""
        return self.start is not None and self.end is not None

    def resolve(self, data: Range | None) -> Range | None:
        """The range with its open ends taken from the range of the data; None if an end is open and there is no data."""
        if self.start is not None and self.end is not None:
            return Range(self.start, self.end)
        if data is None:
            return None
        start = data.start if self.start is None else self.start
        end = data.end if self.end is None else self.end
        return Range(start, max(start, end)) if self.end is None else Range(min(start, end), end)

    def in_buckets(self, data: Range | None, granularity: Granularity, now: datetime) -> Range | None:
        """Like ``resolve``, in whole buckets, and never too many of them for an end that was left open.

        An open end is the last day with data, but not after tomorrow: what is dated later is found by asking for it. An open start is
        the first day with data, but at most MAX_BUCKETS before the end.
        """
        range_ = self.resolve(granularity.widened(data) if data else None)
        if range_ is None or self.complete:
            return range_
        start, end = range_.start, range_.end
        latest = granularity.following(granularity.floor(now + DAY))
        if self.end is None and start < latest:
            end = min(end, latest)
        if self.start is None:
            longest = MAX_BUCKETS * _step(granularity)
            earliest = max(end, EARLIEST + longest) - longest
            edge = granularity.floor(earliest)
            start = max(start, edge if edge == earliest else granularity.following(edge))
        return Range(min(start, end), end)


def requested_range(from_: str | None, to: str | None, granularity: Granularity) -> RequestedRange:
    """The range given by the parameters. Raises InvalidParameterError unless both lie on bucket boundaries and in order."""
    start = None if from_ is None else _bucket_edge("from", from_, granularity)
    end = None if to is None else _bucket_edge("to", to, granularity)
    if start is not None and end is not None and start > end:
        raise InvalidParameterError("to", f"{to} lies before from")
    return RequestedRange(start, end)


def bucket_starts(range_: Range, granularity: Granularity) -> list[datetime]:
    """The start of each bucket. Raises InvalidParameterError if there are more than MAX_BUCKETS."""
    count = (range_.end - range_.start) // _step(granularity)
    if count > MAX_BUCKETS:
        by = "hour" if granularity is Granularity.HOUR else "day"
        raise InvalidParameterError(
            "from", f"the range has {count} buckets by {by}, more than {MAX_BUCKETS}; narrow it with from and to"
        )
    starts, at = [], range_.start
    while at < range_.end:
        starts.append(at)
        at = granularity.following(at)
    return starts


def _step(granularity: Granularity) -> timedelta:
    """How long a counter of the store counts: weeks and months are added up from the counters of their days."""
    return timedelta(hours=1) if granularity is Granularity.HOUR else DAY


def days_of(start: datetime, granularity: Granularity) -> list[datetime]:
    """The days of the bucket that starts then."""
    return [start + i * DAY for i in range((granularity.following(start) - start) // DAY)]


def spans(range_: Range, data: Range) -> list[str]:
    """The fewest spans that cover the days of ``range_`` with data: all time, whole months, or single days."""
    covered = range_.within(data)
    if covered == data and covered.start < covered.end:
        return [ALL]
    return list(months_and_days(covered))


def day_range(first: str, last: str) -> Range:
    """From the start of the first day to the end of the last, given by the store's names of them."""
    return Range(_day(first), _day(last) + DAY)


def months_and_days(range_: Range) -> Iterator[str]:
    """Whole months, and the days that are left."""
    at = range_.start
    while at < range_.end:
        following = Granularity.MONTH.following(at)
        if at.day == 1 and following <= range_.end:
            yield month_of(at)
            at = following
        else:
            yield day_of(at)
            at += DAY


def _day(stamp: str) -> datetime:
    return datetime(int(stamp[:-4]), int(stamp[-4:-2]), int(stamp[-2:]), tzinfo=UTC)


def _bucket_edge(name: str, value: str, granularity: Granularity) -> datetime:
    time = parse_time(name, value)
    if time != granularity.floor(time):
        raise InvalidParameterError(name, f"{value} must be the start of {_EDGES[granularity]}, UTC")
    return time
