"""A generation that is being built, as this process knows it: what of it may be forgotten at any moment, and its pace."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from projectors.rebuild.history_batches import HistoryBatches
from projectors.rebuild.history_pages import HistoryPages

PAGE: Final = 20_000
SHORTEST_PAGE: Final = 100
PAGE_LASTS_S: Final = 2.0
"""At the rate that was ordered."""
STALLED_AFTER_S: Final = 5.0
TOUCH_EVERY_S: Final = 1.0
FINISH_EVERY_S: Final = 1.0


@dataclass(slots=True)
class RebuildProgress:
    """All times are those of one clock of this process: nothing here compares it with another's."""

    portions: HistoryBatches
    pages: HistoryPages = field(default_factory=HistoryPages)
    updated_at: datetime | None = None
    since: float = 0.0
    """When the registry's ``updated_at`` was first seen to be what it is."""
    free_at: float = 0.0
    """When more may be applied at the rate that was ordered."""
    touched: float = float("-inf")
    finishing: float = float("-inf")

    def see(self, updated_at: datetime, now: float) -> None:
        if self.updated_at != updated_at:
            self.updated_at, self.since = updated_at, now

    def is_stalled(self, now: float) -> bool:
        """Nobody seems to be at work; asking is tried no more often than that."""
        return now - self.since >= STALLED_AFTER_S

    def spend(self, events: int, rate: float | None, now: float) -> None:
        if rate is not None:
            self.free_at = max(self.free_at, now) + events / rate

    def is_to_touch(self, now: float) -> bool:
        if now - self.touched < TOUCH_EVERY_S:
            return False
        self.touched = now
        return True

    def is_to_finish(self, now: float) -> bool:
        """At once when it has all it needs, and then now and then."""
        if now - self.finishing < FINISH_EVERY_S:
            return False
        self.finishing = now
        return True


def page_size(rate: float | None) -> int:
    return PAGE if rate is None else min(PAGE, max(SHORTEST_PAGE, int(rate * PAGE_LASTS_S)))
