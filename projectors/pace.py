"""How much of history is taken at once: beside live events as much as is applied in a moment, on any machine. Pure.

A live event waits for the portions that are under way, so they are to be short; and each has its cost however short it is, so they
are to be no shorter than that. How long one takes depends on the machine and on what else it does, and is measured as they go.
"""

from typing import Final

from shared import topology

MOST: Final = 10
"""Messages of up to 100 events: a portion where no live events come."""
FEWEST: Final = 1
MOMENT_S: Final = 0.1
CONFIDENCE: Final = 0.2
"""The weight of a portion that went faster than those before. One that went slower counts whole: orders come after customers, and
cost many times as much."""


class Pace:
    def __init__(self) -> None:
        self._seconds_an_event = MOMENT_S / (FEWEST * topology.MAX_EVENTS_PER_MESSAGE)
        """As though it were slow, until the first portion tells."""

    def took(self, events: int, seconds: float) -> None:
        """A portion of so many events was applied in that time, waiting for its turn not counted."""
        if events:
            latest, known = seconds / events, self._seconds_an_event
            self._seconds_an_event = latest if latest > known else known + CONFIDENCE * (latest - known)

    def messages(self, *, beside_live: bool) -> int:
        """How many messages to take for the next portion."""
        if not beside_live:
            return MOST
        fitting = MOMENT_S / max(self._seconds_an_event, 1e-9) / topology.MAX_EVENTS_PER_MESSAGE
        return int(min(max(fitting, FEWEST), MOST))
