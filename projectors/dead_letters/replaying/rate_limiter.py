"""Pacing: so many letters a second and no more, evenly. Pure but for the clock that its caller reads."""

from dataclasses import dataclass
from typing import Final

BURST_S: Final = 0.1
"""What was not used is kept for this long: a late tick is made up for, an idle hour is not."""


@dataclass(slots=True)
class RateLimiter:
    """A token bucket. In any t seconds it gives at most ``rate * (t + BURST_S) + 1``."""

    rate: float
    """Letters a second."""
    tokens: float = 1.0
    updated_at: float | None = None
    """When it was last looked at: monotonic seconds."""

    def allow(self, now: float, wanted: int) -> int:
        """How many of ``wanted`` may go now; they count as gone."""
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
        """Seconds until there is one more."""
        return max(0.0, (1.0 - self.tokens) / self.rate)
