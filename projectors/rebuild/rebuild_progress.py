"""The volatile state of a rebuild in this process: it may be lost at any time, because the registry has the cursor."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from projectors.rebuild.history import HistoryBatches, HistoryPages

PAGE: Final = 20_000
MIN_PAGE: Final = 100
PAGE_DURATION_S: Final = 2.0
"""At the requested rate."""
STALLED_AFTER_S: Final = 5.0
TOUCH_EVERY_S: Final = 1.0
FINISH_EVERY_S: Final = 1.0


@dataclass(slots=True)
class RebuildProgress:
    """The state of one generation's rebuild. All times are from one clock of this process and are not compared with others."""

    batches: HistoryBatches
    pages: HistoryPages = field(default_factory=HistoryPages)
    updated_at: datetime | None = None
    unchanged_since: float = 0.0
    """When the current value of the registry's ``updated_at`` was first seen."""
    next_allowed_at: float = 0.0
    """When the next batch may be applied at the requested rate."""
    touched_at: float = float("-inf")
    finish_tried_at: float = float("-inf")

    def observe(self, updated_at: datetime, now: float) -> None:
        if self.updated_at != updated_at:
            self.updated_at, self.unchanged_since = updated_at, now

    def is_stalled(self, now: float) -> bool:
        """Whether the registry has not changed for STALLED_AFTER_S; history is requested again at most once per STALLED_AFTER_S."""
        return now - self.unchanged_since >= STALLED_AFTER_S

    def consume_rate(self, events: int, rate: float | None, now: float) -> None:
        if rate is not None:
            self.next_allowed_at = max(self.next_allowed_at, now) + events / rate

    def touch_is_due(self, now: float) -> bool:
        if now - self.touched_at < TOUCH_EVERY_S:
            return False
        self.touched_at = now
        return True

    def finish_is_due(self, now: float) -> bool:
        """Whether to try to finish: at once, then once per FINISH_EVERY_S."""
        if now - self.finish_tried_at < FINISH_EVERY_S:
            return False
        self.finish_tried_at = now
        return True


def page_size(rate: float | None) -> int:
    return PAGE if rate is None else min(PAGE, max(MIN_PAGE, int(rate * PAGE_DURATION_S)))
