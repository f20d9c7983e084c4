"""Readings as columns: in stream order, each with the side of its metric's limits that it is on. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from shared.contracts.devices import Series


@dataclass(slots=True)
class Readings:
    """Readings in stream order, one list for each column; a batch has tens of thousands."""

    device_id: list[str] = field(default_factory=list)
    metric: list[str] = field(default_factory=list)
    at: list[datetime] = field(default_factory=list)
    value: list[str] = field(default_factory=list)
    side: list[int] = field(default_factory=list)
    """-1: below the metric's low, 1: above its high, 0: neither."""
    version: list[int] = field(default_factory=list)
    """Of the event that has the reading."""

    def __len__(self) -> int:
        return len(self.at)

    def add(self, device_id: str, series: Series, version: int) -> None:
        """Raises ValueError if the series has not as many times as values."""
        count = len(series.at)
        if count != len(series.value):
            raise ValueError(f"{series.metric} has {count} times and {len(series.value)} values")
        sides = _sides(series)
        self.device_id += [device_id] * count
        self.metric += [series.metric] * count
        self.at += series.at
        self.value += series.value
        self.side += sides
        self.version += [version] * count

    def known_versions(self) -> list[int]:
        """For each reading, the version that its device's stream was at before these."""
        first: dict[str, int] = {}
        return [
            first.setdefault(device, version) - 1 for device, version in zip(self.device_id, self.version, strict=True)
        ]

    def since(self, time: datetime) -> "Readings":
        """Those of this time or later."""
        if all(at >= time for at in self.at):
            return self
        rows = [row for row in zip(*self.columns(), strict=True) if row[2] >= time]
        return Readings(*map(list, zip(*rows, strict=True))) if rows else Readings()

    def columns(self) -> tuple[list[Any], ...]:
        return self.device_id, self.metric, self.at, self.value, self.side, self.version


def _sides(series: Series) -> Sequence[int]:
    if series.low is None and series.high is None:
        return [0] * len(series.value)
    low = Decimal("-Infinity") if series.low is None else Decimal(series.low)
    high = Decimal("Infinity") if series.high is None else Decimal(series.high)
    return [(value > high) - (value < low) for value in map(Decimal, series.value)]
