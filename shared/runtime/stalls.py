"""Work in hand: nothing that does not come to its end does so in silence.

    with progress.step("deciding 40 commands") as step: ──fails, is tried again──▶ step.failed(error)
                    └── trouble: None while steps end soon, and do not fail; else which one, for how long, and why

Beginning and ending a step costs a clock reading and an entry in a dictionary: once for a batch, never for a message.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from shared.runtime.reasons import reason

STALLED_AFTER_S: Final = 5.0
"""What has been in hand for so long makes no progress: nothing here takes so long where all is well."""


class Step:
    """Something that is being done, since ``began``."""

    def __init__(self, what: str, began: float, stalled_after_s: float) -> None:
        self.what = what
        self.began = began
        self.stalled_after_s = stalled_after_s
        self.failure: str | None = None
        """What went wrong with it last; it is being tried again."""

    def failed(self, error: BaseException | None) -> None:
        self.failure = reason(error)


class StallDetector:
    """The steps that some tasks have in hand. Many may be, at the same time."""

    def __init__(
        self,
        *,
        stalled_after_s: float = STALLED_AFTER_S,
        failing_after_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``failing_after_s``: for how long a step may be tried again before that is worth a word."""
        self._stalled_after_s = stalled_after_s
        self._failing_after_s = failing_after_s
        self._clock = clock
        self._steps: dict[int, Step] = {}
        self._begun = 0

    @contextmanager
    def step(self, what: str, *, takes_long: bool = False) -> Iterator[Step]:
        """``takes_long``: it may, and only its failures count."""
        self._begun += 1
        number = self._begun
        step = Step(what, self._clock(), math.inf if takes_long else self._stalled_after_s)
        self._steps[number] = step
        try:
            yield step
        finally:
            del self._steps[number]

    def recovered(self) -> None:
        """What was begun goes on, and has got past what failed: for steps that go on for as long as all is well."""
        for step in self._steps.values():
            step.failure = None

    @property
    def trouble(self) -> str | None:
        """Of the steps that stand still, or fail, the one that was begun first."""
        now = self._clock()
        for step in self._steps.values():
            age = now - step.began
            if age >= step.stalled_after_s or (step.failure is not None and age >= self._failing_after_s):
                return f"{step.what}: no progress for {age:.0f} s; {step.failure or 'no answer yet'}"
        return None
