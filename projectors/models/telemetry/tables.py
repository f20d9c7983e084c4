"""The telemetry tables. What has a time is a function of the events and of the horizon, before which readings are forgotten.

The rows of ``readings`` are too many to compare one by one: ``verify`` compares their sums by the hour.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from projectors.models.telemetry.projection import Changes
from projectors.models.telemetry.rollups import rows_of_buckets
from projectors.stores.tables import Retention, Table

DEVICE_COLUMNS: Final = (
    *("device_id", "model", "site", "status", "metrics", "readings", "registered_at", "recorded_at", "updated_at"),
    "version",
)
"""The key first, in the order of the store's statement."""
HORIZON: Final = "SELECT horizon FROM retention"
BUCKET_COLUMNS: Final = ("count", "min", "max", "sum", "last_at", "last")
DAY_COLUMNS: Final = (*BUCKET_COLUMNS, "duplicates", "conflicting")
SUM_COLUMNS: Final = ("count", "sum", "moment", "side_sum", "outside", "version_sum")
READING_COLUMNS: Final = ("value", "side", "version")
SERIES_COLUMNS: Final = ("last_at", "last", "inside_at", "outside_at", "outside", "outside_side")


def _devices(changes: Changes) -> Sequence[Mapping[str, Any]]:
    return [{"device_id": device_id, **fields} for device_id, fields in changes.devices.created.items()]


def _readings(changes: Changes) -> Sequence[Mapping[str, Any]]:
    return [
        {"device_id": device_id, "metric": metric, "at": at, **_columns(kept, READING_COLUMNS)}
        for (device_id, metric, at), kept in changes.rollups().readings.items()
    ]


def _series(changes: Changes) -> Sequence[Mapping[str, Any]]:
    return [
        {"device_id": device_id, "metric": metric, **_columns(latest, SERIES_COLUMNS)}
        for (device_id, metric), latest in changes.rollups().series.items()
    ]


def _columns(found: object, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(found, name) for name in names}


def _keep(changes: Changes, horizon: datetime) -> Changes:
    return replace(changes, readings=changes.readings.since(horizon))


DEVICES: Final = Table(
    name="devices", columns=DEVICE_COLUMNS, key=("device_id",), stream="device_id", kind="devices", rows=_devices
)
READINGS_BY_HOUR: Final[Table[Changes]] = Table(
    name="readings_by_hour",
    columns=("device_id", "metric", "start", *SUM_COLUMNS),
    key=("device_id", "metric", "start"),
    stream="device_id",
    kind="devices",
    rows=lambda changes: rows_of_buckets(changes.rollups().hours, *SUM_COLUMNS),
)
READINGS: Final = Table(
    name="readings",
    columns=("device_id", "metric", "at", *READING_COLUMNS),
    key=("device_id", "metric", "at"),
    stream="device_id",
    kind="devices",
    rows=_readings,
    verified_through=READINGS_BY_HOUR,
)
HOURS: Final[Table[Changes]] = Table(
    name="hours",
    columns=("device_id", "metric", "start", *BUCKET_COLUMNS),
    key=("device_id", "metric", "start"),
    stream="device_id",
    kind="devices",
    rows=lambda changes: rows_of_buckets(changes.rollups().hours, *BUCKET_COLUMNS),
)
DAYS: Final[Table[Changes]] = Table(
    name="days",
    columns=("device_id", "metric", "start", *DAY_COLUMNS),
    key=("device_id", "metric", "start"),
    stream="device_id",
    kind="devices",
    rows=lambda changes: rows_of_buckets(changes.rollups().days, *DAY_COLUMNS),
)
SERIES: Final = Table(
    name="series",
    columns=("device_id", "metric", *SERIES_COLUMNS),
    key=("device_id", "metric"),
    stream="device_id",
    kind="devices",
    rows=_series,
)

TABLES: Final = (DEVICES, READINGS, HOURS, DAYS, SERIES)
RETENTION: Final = Retention(HORIZON, _keep)
