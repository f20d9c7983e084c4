"""What is wrong with a process, component by component, and saying so in its log: at once, then less and less often.

Readiness, the health file, and what the process announces are all made of the same words.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

log: Final = logging.getLogger(__name__)

Probe = Callable[[], str | None]
"""What is wrong with a component now, in words; None: it is well."""

GRACE_S: Final = 2.0
"""What is over sooner is not logged: starting takes a moment, and so does a connection that is made again."""
FIRST_DISTANCE_S: Final = 10.0
LONGEST_DISTANCE_S: Final = 300.0
FORGOTTEN_AFTER_S: Final = 60.0
"""What comes back before is the same trouble, and is not said more often for that."""


def troubles(probes: Mapping[str, Probe]) -> dict[str, str]:
    """Component → what is wrong with it; empty: all is well."""
    return {name: trouble for name, probe in probes.items() if (trouble := probe()) is not None}


@dataclass(slots=True)
class _Known:
    since: float
    due_at: float
    """When it is to be logged again."""
    distance: float = FIRST_DISTANCE_S
    said: bool = False
    gone_at: float | None = None


class TroubleLog:
    """Each trouble as a warning, when it has lasted a moment and again after 10 s, 20 s, 40 s … 5 minutes; and when it is over."""

    def __init__(self, process: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._process = process
        self._clock = clock
        self._known: dict[str, _Known] = {}

    def note(self, found: Mapping[str, str]) -> None:
        """What is wrong now."""
        now = self._clock()
        for name, words in found.items():
            known = self._known.setdefault(name, _Known(now, now + GRACE_S))
            if known.gone_at is not None:
                known.since, known.gone_at = now, None
            if now >= known.due_at and now - known.since >= GRACE_S:
                log.warning("%s is not well: %s: %s", self._process, name, words)
                known.said, known.due_at = True, now + known.distance
                known.distance = min(2 * known.distance, LONGEST_DISTANCE_S)
        for name, known in list(self._known.items()):
            if name in found:
                continue
            if known.gone_at is None:
                known.gone_at = now
                if known.said:
                    log.info("%s is well again: %s, after %.0f s", self._process, name, now - known.since)
                    known.said = False
            elif now - known.gone_at > FORGOTTEN_AFTER_S:
                del self._known[name]
