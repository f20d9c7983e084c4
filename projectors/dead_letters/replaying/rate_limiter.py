"""Limits the letters sent per second, evenly. Pure; the caller passes the time."""

from dataclasses import dataclass
from typing import Final

BURST_S: Final = 0.1
"""Unused capacity is kept for this many seconds: it compensates for a late tick, not for an idle hour."""


@dataclass(slots=True)
class RateLimiter:
    """A token bucket. In any t seconds it gives at most ``rate * (t + BURST_S) + 1``."""

    rate: float
    """Letters per second."""
    tokens: float = 1.0
    updated_at: float | None = None
    """Time of the last call of ``allow``, in monotonic seconds."""

    def allow(self, now: float, wanted: int) -> int:
        """How many of ``wanted`` may be sent now; their tokens are consumed."""
        if self.updated_at is not None:
            self.tokens += max(0.0, now - self.updated_at) * self.rate
        self.updated_at = now
        self.tokens = min(self.tokens, self.rate * BURST_S + 1.0)
        given = min(wanted, int(self.tokens))
        self.tokens -= given
        return given

    def refund(self, unused: int) -> None:
        self.tokens += unused

    @property
    def next_in(self) -> float:
        """Seconds until one more may be sent."""
        return max(0.0, (1.0 - self.tokens) / self.rate)
