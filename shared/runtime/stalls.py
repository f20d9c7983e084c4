"""Stall detection: every step that does not finish in time, or keeps failing, is reported.

    with progress.step("deciding 40 commands") as step: ──fails, is retried──▶ step.failed(error)
                    └── trouble: None while steps finish in time without failing; else which step, for how long, and why

A step costs a clock reading and a dictionary entry: use one for a batch, never for a message.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from shared.runtime.reasons import reason

STALLED_AFTER_S: Final = 5.0
"""A step that runs this long makes no progress: no step takes so long on a healthy system."""


class Step:
    """An operation in progress since ``began``."""

    def __init__(self, what: str, began: float, stalled_after_s: float) -> None:
        self.what = what
        self.began = began
        self.stalled_after_s = stalled_after_s
        self.failure: str | None = None
        """The last failure; the step is being retried."""

    def failed(self, error: BaseException | None) -> None:
        self.failure = reason(error)


class StallDetector:
    """The steps in progress of some tasks; several may run concurrently."""

    def __init__(
        self,
        *,
        stalled_after_s: float = STALLED_AFTER_S,
        failing_after_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``failing_after_s``: how long a failing step may be retried before it is reported."""
        self._stalled_after_s = stalled_after_s
        self._failing_after_s = failing_after_s
        self._clock = clock
        self._steps: dict[int, Step] = {}
        self._begun = 0

    @contextmanager
    def step(self, what: str, *, takes_long: bool = False) -> Iterator[Step]:
        """``takes_long``: a long duration is normal; only failures are reported."""
        self._begun += 1
        number = self._begun
        step = Step(what, self._clock(), math.inf if takes_long else self._stalled_after_s)
        self._steps[number] = step
        try:
            yield step
        finally:
            del self._steps[number]

    def recovered(self) -> None:
        """Clear the failures of all steps in progress: for steps that run for as long as all is well."""
        for step in self._steps.values():
            step.failure = None

    @property
    def trouble(self) -> str | None:
        """The oldest step that is stalled or failing, with its duration and failure."""
        now = self._clock()
        for step in self._steps.values():
            age = now - step.began
            if age >= step.stalled_after_s or (step.failure is not None and age >= self._failing_after_s):
                return f"{step.what}: no progress for {age:.0f} s; {step.failure or 'no answer yet'}"
        return None
