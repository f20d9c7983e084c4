"""Health of a process: the problem of each component, and a log of problems that repeats them at growing intervals.

Readiness, the health file and the process's announcements all use the same messages.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

log: Final = logging.getLogger(__name__)

Probe = Callable[[], str | None]
"""The component's current problem in words; None: it is healthy."""

GRACE_S: Final = 2.0
"""Shorter problems are not logged: starting up and reconnecting take a moment."""
FIRST_INTERVAL_S: Final = 10.0
LONGEST_INTERVAL_S: Final = 300.0
FORGET_AFTER_S: Final = 60.0
"""A problem that recurs within this time counts as the same one: it does not restart the intervals."""


def troubles(probes: Mapping[str, Probe]) -> dict[str, str]:
    """Component → its problem; empty: all are healthy."""
    return {name: trouble for name, probe in probes.items() if (trouble := probe()) is not None}


@dataclass(slots=True)
class _Problem:
    since: float
    due_at: float
    """When it is logged next."""
    interval: float = FIRST_INTERVAL_S
    logged: bool = False
    ended_at: float | None = None


class TroubleLog:
    """Logs each problem as a warning after GRACE_S and again after 10 s, 20 s, 40 s … 5 minutes, and its end once as info."""

    def __init__(self, process: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._process = process
        self._clock = clock
        self._problems: dict[str, _Problem] = {}

    def note(self, found: Mapping[str, str]) -> None:
        """Record the current problems: component → message."""
        now = self._clock()
        for name, words in found.items():
            problem = self._problems.setdefault(name, _Problem(now, now + GRACE_S))
            if problem.ended_at is not None:
                problem.since, problem.ended_at = now, None
            if now >= problem.due_at and now - problem.since >= GRACE_S:
                log.warning("%s is not well: %s: %s", self._process, name, words)
                problem.logged, problem.due_at = True, now + problem.interval
                problem.interval = min(2 * problem.interval, LONGEST_INTERVAL_S)
        for name, problem in list(self._problems.items()):
            if name in found:
                continue
            if problem.ended_at is None:
                problem.ended_at = now
                if problem.logged:
                    log.info("%s is well again: %s, after %.0f s", self._process, name, now - problem.since)
                    problem.logged = False
            elif now - problem.ended_at > FORGET_AFTER_S:
                del self._problems[name]
