"""Telemetry's pure projection: devices as rows, and their readings as columns, in stream order.

Which readings are new is decided by the store: the first of a device, metric and time counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from msgspec.structs import asdict

from projectors.models.telemetry.readings import Readings
from projectors.models.telemetry.rollups import Rollups, rollups
from projectors.stores.folding import Fields, Rows, each_event
from projectors.stores.port import Advance, Event
from shared.contracts.devices import (
    DeviceConfigured,
    DeviceRegistered,
    DeviceRetired,
    TelemetryRecorded,
)


@dataclass(slots=True)
class Changes:
    """All changes of a batch."""

    devices: Rows = field(default_factory=Rows)
    readings: Readings = field(default_factory=Readings)
    _rollups: Rollups | None = field(default=None, init=False)

    def rollups(self) -> Rollups:
        """What the readings add up to, if these are all readings of their devices. Computed once."""
        if self._rollups is None:
            self._rollups = rollups(self.readings)
        return self._rollups


def fold(advances: Sequence[Advance]) -> Changes:
    """Raises ProjectionError."""
    changes = Changes()
    each_event(advances, lambda event: _apply(changes, event))
    return changes


def _apply(changes: Changes, event: Event) -> None:
    data: Any = event.data
    version: Fields = {"version": event.version}
    match data:
        case DeviceRegistered():
            row = _described(data, data.registered_at) | version
            row |= {"status": "active", "readings": 0, "registered_at": data.registered_at, "recorded_at": None}
            changes.devices.create(data.device_id, row)
        case DeviceConfigured():
            changes.devices.change(data.device_id, _described(data, data.configured_at) | version, event)
        case DeviceRetired():
            fields = {"status": "retired", "updated_at": data.retired_at} | version
            changes.devices.change(data.device_id, fields, event)
        case TelemetryRecorded():
            for series in data.series:
                changes.readings.add(data.device_id, series, event.version)
            fields = {"readings": data.total, "recorded_at": data.recorded_at} | version
            changes.devices.change(data.device_id, fields, event)
        case _:
            pass  # an event of a kind that has no rows here


def _described(data: DeviceRegistered | DeviceConfigured, at: datetime) -> Fields:
    return {"model": data.model, "site": data.site, "metrics": list(map(asdict, data.metrics)), "updated_at": at}
