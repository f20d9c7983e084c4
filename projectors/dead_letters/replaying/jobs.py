"""The state machine of a replay job, as a pure function of the outcomes of its items.

    pending ──▶ canary ──all succeeded──▶ running ──nothing left──▶ completed
       │           ├──one failed──▶ stopped    ├──the same failure came back too often──▶ stopped
       │           │                           ├──a step of the ramp has failed──▶ stopped, else its next step
       │           ▼                           ▼
       └────────▶ paused ◀── operator ────────┘           stopped, paused ──operator──▶ running
    any of these ──operator──▶ cancelled

A step of the ramp is over when every letter up to it has an outcome. It has failed if ``stop_after`` of its letters have, for whatever
reason, or all of them. A job without ``stop_after`` never stops by itself after its canary.

``completed`` and ``cancelled`` are final. Stopped and paused jobs keep the letters that they have not sent.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal


class State(StrEnum):
    PENDING = "pending"
    CANARY = "canary"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


SENDING: Final = frozenset({State.CANARY, State.RUNNING})
FINAL: Final = frozenset({State.COMPLETED, State.CANCELLED})


@dataclass(frozen=True, slots=True)
class JobProgress:
    """Everything that determines a job's next state."""

    state: State
    canary: int
    """Number of letters to send first."""
    canary_over: bool
    canary_open: int
    """The canary's letters without an outcome."""
    canary_failed: int
    open: int
    """Letters without an outcome, sent or not."""
    stop_after: int | None
    repeated_failures: int
    """Letters that failed with the same fingerprint as before, since the job was last resumed."""
    steps_left: int = 0
    """Steps of the ramp that are not over."""
    step_open: bool = False
    """Whether letters of this step have no outcome."""
    step_failed: int = 0
    step_succeeded: int = 0
    """Outcomes since the step began, or since the job was last resumed."""
    settled: bool = True
    """Whether enough time has passed since the last command was sent for its failure to arrive."""


@dataclass(frozen=True, slots=True)
class Transition:
    to: State
    why: str = ""
    next_step: bool = False
    """The step of the ramp is over."""


def advance(progress: JobProgress) -> Transition | None:
    """The job's next automatic transition; None: it stays in its state."""
    match progress.state:
        case State.PENDING:
            return Transition(State.CANARY if progress.canary and not progress.canary_over else State.RUNNING)
        case State.CANARY:
            if progress.canary_failed:
                return Transition(
                    State.STOPPED, f"{progress.canary_failed} of the first {progress.canary} letters failed again"
                )
            if not progress.canary_open and progress.settled:
                return Transition(State.RUNNING)
        case State.RUNNING:
            if progress.stop_after is not None and progress.repeated_failures >= progress.stop_after:
                return Transition(
                    State.STOPPED,
                    f"{progress.repeated_failures} letters came back with the fingerprint they had before",
                )
            if not progress.open and progress.settled:
                return Transition(State.COMPLETED)
            if progress.steps_left and not progress.step_open and progress.settled:
                return _after_step(progress)
        case State.PAUSED:
            if not progress.open and progress.settled:
                return Transition(State.COMPLETED)
        case State.STOPPED | State.COMPLETED | State.CANCELLED:
            pass
    return None


def _after_step(progress: JobProgress) -> Transition:
    failed, succeeded = progress.step_failed, progress.step_succeeded
    if failed and progress.stop_after is not None and (failed >= progress.stop_after or not succeeded):
        return Transition(State.STOPPED, f"{failed} of the {failed + succeeded} letters of this step failed again")
    return Transition(State.RUNNING, next_step=True)


def requested_state(state: State, to: Literal["paused", "running", "cancelled"]) -> State | None:
    """The state after an operator's request; None: not allowed in this state.

    ``running`` leads to ``pending``, from which ``advance`` decides whether the canary still has to be sent.
    """
    match to:
        case "paused":
            return State.PAUSED if state in (State.PENDING, State.CANARY, State.RUNNING) else None
        case "running":
            return State.PENDING if state in (State.PAUSED, State.STOPPED) else None
        case "cancelled":
            return State.CANCELLED if state not in FINAL else None
