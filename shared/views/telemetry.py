"""Devices and their telemetry, as the query service answers with them. Values are decimals, as JSON numbers with all their digits."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, Field

Number = Decimal
"""A JSON number with all its digits: a client whose numbers are doubles rounds it to 15 digits or so."""


UNIT: Final = "As the device is described now; null: the device does not have the metric any more."


class DeviceStatus(StrEnum):
    ACTIVE = "active"
    RETIRED = "retired"


class AlertState(StrEnum):
    """Of a metric that has a reading outside its limits: raised while the latest reading is outside, the device active, and the metric
    among those of the device; else cleared.
    """

    RAISED = "raised"
    CLEARED = "cleared"


class Side(StrEnum):
    LOW = "low"
    HIGH = "high"


class MetricView(BaseModel):
    name: str
    unit: str
    low: Number | None = None
    high: Number | None = None


class DeviceSummary(BaseModel):
    """``recorded_at``: when readings were last recorded."""

    device_id: str
    model: str
    site: str | None
    status: DeviceStatus
    readings: int = Field(description="How many were recorded, duplicates included.")
    recorded_at: datetime | None
    version: int


class ReadingCounts(BaseModel):
    """``recorded`` = ``kept`` + ``duplicates`` + ``conflicting`` + ``expired``."""

    recorded: int
    kept: int
    duplicates: int = Field(description="Readings of a metric and time that had the same value already.")
    conflicting: int = Field(description="Readings of a metric and time that had another value already, which stays.")
    expired: int = Field(description="Readings older than the retention.")


class DeviceView(BaseModel):
    device_id: str
    model: str
    site: str | None
    status: DeviceStatus
    metrics: list[MetricView]
    readings: ReadingCounts
    registered_at: datetime
    recorded_at: datetime | None
    updated_at: datetime
    version: int


class TelemetryBucket(BaseModel):
    start: datetime
    count: int
    min: Number
    max: Number
    sum: Number
    average: Number = Field(description="Rounded half up to 12 decimal places.")
    last: Number = Field(description="The value with the latest time.")


class TelemetryView(BaseModel):
    """Buckets without readings are left out."""

    device_id: str
    metric: str
    unit: str | None = Field(description=UNIT)
    granularity: str
    buckets: list[TelemetryBucket]


class LatestReading(BaseModel):
    metric: str
    unit: str | None = Field(description=UNIT)
    at: datetime
    value: Number
    alert: AlertState | None = Field(description="Null: no reading was ever outside the limits.")


class LatestView(BaseModel):
    """The reading with the latest time of each metric."""

    device_id: str
    items: list[LatestReading]


class AlertView(BaseModel):
    """``outside_at``, ``outside``, ``side``: the latest reading outside the limits, and which limit. ``inside_at``: the latest inside."""

    device_id: str
    metric: str
    model: str
    site: str | None
    state: AlertState
    since: datetime = Field(
        description="The first reading of the unbroken run in this state, up to the latest reading. Cleared although the latest reading is"
        " outside: when the device was retired, or last configured, if it lacks the metric."
    )
    side: Side
    outside_at: datetime
    outside: Number
    inside_at: datetime | None
    last_at: datetime
    last: Number


class FleetGroup(BaseModel):
    """The devices of one site and model."""

    site: str | None
    model: str
    devices: int
    active: int
    readings: int
    raised: int = Field(description="Metrics of active devices whose alert is raised.")
    last_at: datetime | None = Field(description="The time of the latest reading.")
