"""The lag of live events, measured by heartbeats: pure, and independent of the offset between the two clocks.

A heartbeat contains a time of the write database's clock. Its delay is that time's age by the local clock, which includes the clocks'
offset; the least delay of the last WINDOW heartbeats counts as no lag.
"""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

WINDOW: Final = 240
"""Heartbeats: one a second for each lane."""
SILENT_S: Final = 3.0
"""Without a heartbeat for this long the lag is unknown and counts as none: no live events arrive either, so none are worth waiting for."""


@dataclass(slots=True)
class LagMeter:
    _delays: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    _received_at: float = float("-inf")

    def note(self, as_of: datetime, now: datetime, monotonic: float) -> None:
        """Record a heartbeat that has been applied."""
        self._delays.append((now - as_of).total_seconds())
        self._received_at = monotonic

    def seconds(self, monotonic: float) -> float:
        if not self._delays or monotonic - self._received_at > SILENT_S:
            return 0.0
        return self._delays[-1] - min(self._delays)
