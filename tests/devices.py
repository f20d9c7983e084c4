"""Events of a device, for tests."""

from collections.abc import Iterable
from datetime import UTC, datetime

from shared.contracts.devices import (
    DeviceConfigured,
    DeviceRegistered,
    DeviceRetired,
    Metric,
    Series,
    TelemetryRecorded,
)

NOON = datetime(2026, 3, 31, 12, tzinfo=UTC)
METRICS = (Metric(name="temp", unit="°C", low="-10", high="30.5"), Metric(name="wind", unit="m/s"))
LIMITS = {metric.name: (metric.low, metric.high) for metric in METRICS}

Reading = tuple[str, datetime, str]
"""Metric, time, value."""


def registered(device_id: str = "d-1", *, model: str = "m-1", site: str | None = "north") -> DeviceRegistered:
    return DeviceRegistered(device_id=device_id, model=model, site=site, metrics=METRICS, registered_at=NOON)


def configured(device_id: str = "d-1", *, model: str = "m-2", site: str | None = "south") -> DeviceConfigured:
    return DeviceConfigured(device_id=device_id, model=model, site=site, metrics=METRICS[:1], configured_at=NOON)


def retired(device_id: str = "d-1") -> DeviceRetired:
    return DeviceRetired(device_id=device_id, reason="worn out", retired_at=NOON)


def recorded(*readings: Reading, device_id: str = "d-1", total: int = 0) -> TelemetryRecorded:
    """The readings as the domain records them: by metric, in the order of the command, with the metric's limits."""
    return TelemetryRecorded(
        device_id=device_id,
        series=tuple(_series(metric, readings) for metric in dict.fromkeys(metric for metric, _, _ in readings)),
        total=total or len(readings),
        recorded_at=NOON,
    )


def _series(metric: str, readings: Iterable[Reading]) -> Series:
    low, high = LIMITS[metric]
    own = [(at, value) for name, at, value in readings if name == metric]
    return Series(
        metric=metric, low=low, high=high, at=tuple(at for at, _ in own), value=tuple(value for _, value in own)
    )
