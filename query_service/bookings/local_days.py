"""Local days: a date means the day in a time zone, which may have 23 or 25 hours. Pure.

A day begins at its first midnight; where the clocks skip midnight, when they do. So consecutive days neither overlap nor leave a gap, and
a day that a zone has left out (30 December 2011 in Samoa) is empty. That holds for every zone from 1970 on; none skips an hour around
midnight.
"""

from datetime import UTC, date, datetime
from typing import Final
from zoneinfo import ZoneInfo

from query_service.http.parameters import EARLIEST, LATEST, parse_date, parse_time

LOCAL_FORMAT: Final = (
    "a date (2026-03-29: the start of that day in the doctor's time zone) or an RFC 3339 time (2026-03-29T09:30:00Z)"
)


def start_of_day(day: date, zone: ZoneInfo) -> datetime:
    """The moment at which the day begins, in UTC; clipped to what the stores can hold."""
    try:
        # fold=0: the first of two midnights; one that is skipped counts by the offset before, which is when the clocks skip it.
        return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
    except OverflowError:
        return EARLIEST if day.year == 1 else LATEST


def start_of(name: str, value: str, zone: ZoneInfo, form: str = LOCAL_FORMAT) -> datetime:
    """The start of a date in the zone, or an RFC 3339 time; in UTC. Raises InvalidParameterError, which says the ``form``."""
    day = parse_date(name, value)
    return parse_time(name, value, form) if day is None else start_of_day(day, zone)
