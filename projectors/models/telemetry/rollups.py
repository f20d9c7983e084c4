"""What the telemetry tables have after all readings of some devices: pure, and without a rounding.

``verify`` compares the store with it, so it shares no code with the SQL that writes the tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from typing import Any, Final

from projectors.models.telemetry.readings import Readings

EXACT: Final = Context(prec=400)
"""Enough digits for any sum of decimals that a contract allows."""
_UNIX_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

Place = tuple[str, str, datetime]
"""Device, metric, and the time of a reading, or the start of an hour or a day."""


@dataclass(slots=True)
class Kept:
    """The first reading of its device, metric and time."""

    value: Decimal
    side: int
    version: int


@dataclass(slots=True)
class Bucket:
    """The readings of an hour or a day."""

    min: Decimal
    max: Decimal
    last: Decimal
    last_at: datetime
    count: int = 0
    sum: Decimal = Decimal(0)
    duplicates: int = 0
    conflicting: int = 0
    moment: Decimal = Decimal(0)
    """The sum of value × seconds since 1970."""
    side_sum: int = 0
    outside: int = 0
    version_sum: int = 0

    def add(self, at: datetime, kept: Kept) -> None:
        value = kept.value
        self.count += 1
        self.sum = EXACT.add(self.sum, value)
        self.min, self.max = min(self.min, value), max(self.max, value)
        if at >= self.last_at:
            self.last_at, self.last = at, value
        seconds = Decimal((at - _UNIX_EPOCH) // _MICROSECOND).scaleb(-6)
        self.moment = EXACT.add(self.moment, EXACT.multiply(value, seconds))
        self.side_sum += kept.side
        self.outside += kept.side != 0
        self.version_sum += kept.version

    def columns(self, *names: str) -> dict[str, Any]:
        return {name: getattr(self, name) for name in names}


@dataclass(slots=True)
class Latest:
    """The latest reading of a metric, the latest one within its limits, and the latest one outside of them."""

    last_at: datetime
    last: Decimal
    inside_at: datetime | None = None
    outside_at: datetime | None = None
    outside: Decimal | None = None
    outside_side: int | None = None

    def add(self, at: datetime, kept: Kept) -> None:
        if at >= self.last_at:
            self.last_at, self.last = at, kept.value
        if kept.side == 0:
            self.inside_at = max(at, self.inside_at or at)
        elif self.outside_at is None or at > self.outside_at:
            self.outside_at, self.outside, self.outside_side = at, kept.value, kept.side


@dataclass(slots=True)
class Rollups:
    readings: dict[Place, Kept] = field(default_factory=dict)
    hours: dict[Place, Bucket] = field(default_factory=dict)
    days: dict[Place, Bucket] = field(default_factory=dict)
    series: dict[tuple[str, str], Latest] = field(default_factory=dict)


def rollups(readings: Readings) -> Rollups:
    """``readings``: all of their devices, each device's in stream order."""
    found = Rollups()
    further: list[tuple[Place, bool]] = []
    for device_id, metric, at, text, side, version in zip(*readings.columns(), strict=True):
        place, value = (device_id, metric, at), Decimal(text)
        first = found.readings.get(place)
        if first is not None:
            further.append((place, value == first.value))
            continue
        kept = found.readings[place] = Kept(value, side, version)
        hour = at.replace(minute=0, second=0, microsecond=0)
        _bucket(found.hours, (device_id, metric, hour), at, value).add(at, kept)
        _bucket(found.days, (device_id, metric, hour.replace(hour=0)), at, value).add(at, kept)
        series = found.series.get((device_id, metric))
        if series is None:
            series = found.series[device_id, metric] = Latest(at, value)
        series.add(at, kept)
    for (device_id, metric, at), is_equal in further:
        day = found.days[device_id, metric, at.replace(hour=0, minute=0, second=0, microsecond=0)]
        day.duplicates += is_equal
        day.conflicting += not is_equal
    return found


def _bucket(buckets: dict[Place, Bucket], place: Place, at: datetime, value: Decimal) -> Bucket:
    bucket = buckets.get(place)
    if bucket is None:
        bucket = buckets[place] = Bucket(value, value, value, at)
    return bucket


def rows_of_buckets(buckets: Mapping[Place, Bucket], *columns: str) -> list[Mapping[str, Any]]:
    return [
        {"device_id": device_id, "metric": metric, "start": start, **bucket.columns(*columns)}
        for (device_id, metric, start), bucket in buckets.items()
    ]
