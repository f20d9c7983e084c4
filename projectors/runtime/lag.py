"""How far live events are behind, as heartbeats show it: pure, and no matter how far apart the two clocks are.

A heartbeat says the time at which it was true, by the write database's clock. How long ago that was by our own clock is its delay,
the clocks' difference included; the least delay seen lately is taken for no lag at all.
"""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

WINDOW: Final = 240
"""Heartbeats: one a second for each lane."""
SILENT_S: Final = 3.0
"""Without a heartbeat for so long nothing is known: then nobody is to wait for live events, which do not come either."""


@dataclass(slots=True)
class LagMeter:
    _delays: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    _received_at: float = float("-inf")

    def note(self, as_of: datetime, now: datetime, monotonic: float) -> None:
        """A heartbeat has been applied."""
        self._delays.append((now - as_of).total_seconds())
        self._received_at = monotonic

    def seconds(self, monotonic: float) -> float:
        if not self._delays or monotonic - self._received_at > SILENT_S:
            return 0.0
        return self._delays[-1] - min(self._delays)
