"""A device is registered, configured, and retired; in between its readings are recorded.

The state has the device's description and the number of its readings, never readings: recording the millionth costs what the first did.
Refusals: device-already-registered, device-not-found, device-is-retired, unknown-metric, reading-in-the-future.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, assert_never

import msgspec
from msgspec.structs import asdict, replace

from command_service.domain.aggregate import Aggregate, Refused, State
from shared.contracts.devices import (
    MAX_AHEAD,
    ConfigureDevice,
    DeviceConfigured,
    DeviceRegistered,
    DeviceRetired,
    Metric,
    MetricDefinition,
    RecordTelemetry,
    RegisterDevice,
    RetireDevice,
    Series,
    TelemetryReading,
    TelemetryRecorded,
)

Command = RegisterDevice | ConfigureDevice | RetireDevice | RecordTelemetry
Event = DeviceRegistered | DeviceConfigured | DeviceRetired | TelemetryRecorded


class KnownMetric(msgspec.Struct, frozen=True, gc=False):
    name: str
    unit: str
    low: str | None = None
    high: str | None = None


class Device(State, frozen=True, kw_only=True):
    device_id: str
    model: str
    site: str | None
    metrics: tuple[KnownMetric, ...]
    is_retired: bool = False
    readings: int = 0


def decide(device: Device | None, command: Command, now: datetime) -> Sequence[Event]:
    if isinstance(command, RegisterDevice):
        if device is not None:
            raise Refused("device-already-registered", f"device {command.device_id} is already registered")
        return [
            DeviceRegistered(
                device_id=command.device_id,
                model=command.model,
                site=command.site,
                metrics=_metrics(command.metrics),
                registered_at=now,
            )
        ]
    if device is None:
        raise Refused("device-not-found", "there is no such device")
    if device.is_retired:
        raise Refused("device-is-retired", f"device {device.device_id} is retired")
    match command:
        case ConfigureDevice():
            return _configure(device, command, now)
        case RetireDevice():
            return [DeviceRetired(device_id=device.device_id, reason=command.reason, retired_at=now)]
        case RecordTelemetry():
            return [
                TelemetryRecorded(
                    device_id=device.device_id,
                    series=_by_metric(device, command.readings, now + MAX_AHEAD),
                    total=device.readings + len(command.readings),
                    recorded_at=now,
                )
            ]
        case _:
            assert_never(command)


def evolve(device: Device | None, event: Event) -> Device:
    if isinstance(event, DeviceRegistered):
        return Device(
            device_id=event.device_id, model=event.model, site=event.site, metrics=_known_metrics(event.metrics)
        )
    if device is None:
        raise ValueError(f"{type(event).__name__} cannot begin a device")
    match event:
        case DeviceConfigured():
            return replace(device, model=event.model, site=event.site, metrics=_known_metrics(event.metrics))
        case DeviceRetired():
            return replace(device, is_retired=True)
        case TelemetryRecorded():
            return replace(device, readings=event.total)
        case _:
            assert_never(event)


def _configure(device: Device, command: ConfigureDevice, now: datetime) -> Sequence[Event]:
    model, site = command.model or device.model, command.site or device.site
    metrics = tuple(Metric(**asdict(known)) for known in device.metrics)
    if command.metrics is not None:
        metrics = _metrics(command.metrics)
    if (model, site, _known_metrics(metrics)) == (device.model, device.site, device.metrics):
        return []
    return [DeviceConfigured(device_id=device.device_id, model=model, site=site, metrics=metrics, configured_at=now)]


def _by_metric(device: Device, readings: Sequence[TelemetryReading], latest: datetime) -> tuple[Series, ...]:
    """Raises Refused for a metric that the device does not have, and for a time after ``latest``."""
    found: dict[str, tuple[list[datetime], list[str]]] = {}
    known = {metric.name: metric for metric in device.metrics}
    for place, reading in enumerate(readings):
        if reading.metric not in known:
            names = ", ".join(known)
            raise Refused(
                "unknown-metric", f"readings[{place}].metric: there is no {reading.metric}; there are {names}"
            )
        if reading.at > latest:
            raise Refused(
                "reading-in-the-future",
                f"readings[{place}].at: {reading.at.isoformat().replace('+00:00', 'Z')} is more than a day ahead of the service's clock",
            )
        times, values = found.setdefault(reading.metric, ([], []))
        times.append(reading.at)
        values.append(reading.value)
    return tuple(
        Series(metric=name, low=known[name].low, high=known[name].high, at=tuple(times), value=tuple(values))
        for name, (times, values) in found.items()
    )


def _metrics(definitions: Sequence[MetricDefinition]) -> tuple[Metric, ...]:
    return tuple(Metric(**dict(definition)) for definition in definitions)


def _known_metrics(metrics: Sequence[Metric]) -> tuple[KnownMetric, ...]:
    return tuple(KnownMetric(**asdict(metric)) for metric in metrics)


AGGREGATE: Final = Aggregate(
    kind="devices",
    state=Device,
    decide=decide,
    evolve=evolve,
    commands=frozenset({RegisterDevice, ConfigureDevice, RetireDevice, RecordTelemetry}),
    creates={RegisterDevice: "device_id"},
    closed=lambda device: device.is_retired,
)
