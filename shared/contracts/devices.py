"""Devices: what they measure, and their readings. A reading's value is a decimal, kept exactly, as text."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, ClassVar, Final, Self

import msgspec
from pydantic import AfterValidator, Field, model_validator

from shared.contracts.refusals import Refusal, Retry
from shared.contracts.values import (
    CommandData,
    Count,
    DecimalText,
    EventData,
    EventPart,
    EventTime,
    Id,
    Label,
    Text,
    Timestamp,
    Upcaster,
)

MAX_READINGS: Final = 1000
MAX_METRICS: Final = 100
MAX_AHEAD: Final = timedelta(days=1)
"""How far a reading may be ahead of the clock of the worker that records it."""


class MetricDefinition(CommandData):
    """``low``, ``high``: a reading below or above raises an alert; None: there is no such limit."""

    name: Id
    unit: Label
    low: DecimalText | None = None
    high: DecimalText | None = None

    @model_validator(mode="after")
    def _limits_are_in_order(self) -> Self:
        if self.low is not None and self.high is not None and Decimal(self.low) > Decimal(self.high):
            raise ValueError("low must not be above high")
        return self


def _names_differ(metrics: tuple[MetricDefinition, ...]) -> tuple[MetricDefinition, ...]:
    if len({metric.name for metric in metrics}) != len(metrics):
        raise ValueError("two metrics have the same name")
    return metrics


Metrics = Annotated[tuple[MetricDefinition, ...], Count(1, MAX_METRICS), AfterValidator(_names_differ)]


class DeviceCommand(CommandData):
    exact_numbers: ClassVar[bool] = True


class RegisterDevice(DeviceCommand):
    device_id: Id
    model: Label
    site: Label | None = None
    metrics: Metrics


class ConfigureDevice(DeviceCommand):
    """At least one field; omitted fields stay unchanged. ``metrics`` replaces the whole list: a metric that it lacks is removed.

    Readings of a removed metric stay; none can be recorded any more, and its alert is cleared.
    """

    model: Label | None = None
    site: Label | None = None
    metrics: Annotated[
        Metrics | None,
        Field(
            description="The complete list: it replaces the device's metrics, and a metric that is not in it is removed."
        ),
    ] = None

    @model_validator(mode="after")
    def _has_a_change(self) -> Self:
        if self.model is None and self.site is None and self.metrics is None:
            raise ValueError("give at least one of model, site, metrics")
        return self


class RetireDevice(DeviceCommand):
    reason: Annotated[Text, Field(min_length=1)] | None = None


class TelemetryReading(CommandData):
    metric: Id
    at: Timestamp
    """To the microsecond; at most a day ahead of the service's clock."""
    value: DecimalText


class RecordTelemetry(DeviceCommand):
    """Readings in any order, late ones included. The first reading of a metric and time counts, others of the same are duplicates."""

    readings: Annotated[tuple[TelemetryReading, ...], Count(1, MAX_READINGS)]


class Metric(EventPart, frozen=True, kw_only=True):
    name: str
    unit: str
    low: str | None = None
    high: str | None = None


class DeviceRegistered(EventData, frozen=True, kw_only=True):
    device_id: str
    model: str
    site: str | None = None
    metrics: tuple[Metric, ...]
    registered_at: EventTime


class DeviceConfigured(EventData, frozen=True, kw_only=True):
    """The device's complete description after the change."""

    device_id: str
    model: str
    site: str | None = None
    metrics: tuple[Metric, ...]
    configured_at: EventTime


class DeviceRetired(EventData, frozen=True, kw_only=True):
    device_id: str
    reason: str | None = None
    retired_at: EventTime


class Series(EventPart, frozen=True, kw_only=True, omit_defaults=True):
    """The readings of one metric, as two lists of the same length; ``low`` and ``high``: the metric's limits when they were recorded."""

    metric: str
    low: str | None = None
    high: str | None = None
    at: tuple[Annotated[datetime, msgspec.Meta(tz=True)], ...]
    value: tuple[str, ...]


class TelemetryRecorded(EventData, frozen=True, kw_only=True):
    device_id: str
    series: tuple[Series, ...]
    """By metric, each in the order of the command."""
    total: int
    """The number of readings recorded so far, including these and all duplicates."""
    recorded_at: EventTime


KINDS: Final = ("devices",)
"""The stream kinds of these events; a stream is ``<kind>/<id>``."""

COMMANDS: Final[Mapping[str, type[CommandData]]] = {
    "devices.register-device": RegisterDevice,
    "devices.configure-device": ConfigureDevice,
    "devices.retire-device": RetireDevice,
    "devices.record-telemetry": RecordTelemetry,
}

EVENTS: Final[Mapping[type[EventData], tuple[str, int]]] = {
    DeviceRegistered: ("devices.device-registered", 1),
    DeviceConfigured: ("devices.device-configured", 1),
    DeviceRetired: ("devices.device-retired", 1),
    TelemetryRecorded: ("devices.telemetry-recorded", 1),
}
"""Event class → its type in messages, and the current schema version."""

UPCASTERS: Final[Mapping[tuple[str, int], Upcaster]] = {}
"""(event type, schema version) → the function that converts its data to the next schema version."""

REFUSALS: Final[Mapping[str, Refusal]] = {
    "device-already-registered": Refusal("There is a device with this id.", Retry.NEW_ID),
    "device-not-found": Refusal("There is no device with this id, or not yet.", Retry.NEW_ID),
    "device-is-retired": Refusal("The device is retired: nothing can be recorded or changed.", Retry.NEW_ID),
    "unknown-metric": Refusal(
        "A reading is of a metric that the device does not have; no reading of the command was recorded.", Retry.NEW_ID
    ),
    "reading-in-the-future": Refusal(
        "A reading is more than a day ahead of the service's clock; no reading of the command was recorded.",
        Retry.NEW_ID,
    ),
}
