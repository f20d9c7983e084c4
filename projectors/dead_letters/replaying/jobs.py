"""The life of a replay job, as a pure function of what its items have come to.

    pending ──▶ canary ──all succeeded──▶ running ──nothing left──▶ completed
       │           ├──one failed──▶ stopped    ├──the same failure came back too often──▶ stopped
       │           ▼                           ▼
       └────────▶ paused ◀── operator ────────┘           stopped, paused ──operator──▶ running
    any of these ──operator──▶ cancelled

``completed`` and ``cancelled`` are final. A stopped job keeps what it has not sent; so does a paused one.
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
    """All that decides about a job."""

    state: State
    canary: int
    """How many are to go first."""
    canary_over: bool
    canary_open: int
    """Of the canary's letters: without an answer yet."""
    canary_failed: int
    open: int
    """Letters without an answer, sent or not."""
    stop_after: int | None
    repeated_failures: int
    """Letters that failed with the fingerprint they had before, since the job was last told to go on."""
    settled: bool
    """Whether commands that were sent last have had the time to come back."""


@dataclass(frozen=True, slots=True)
class Transition:
    to: State
    why: str = ""


def advance(progress: JobProgress) -> Transition | None:
    """Where the job goes by itself; None: it stays."""
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
        case State.PAUSED:
            if not progress.open and progress.settled:
                return Transition(State.COMPLETED)
        case State.STOPPED | State.COMPLETED | State.CANCELLED:
            pass
    return None


def requested_state(state: State, to: Literal["paused", "running", "cancelled"]) -> State | None:
    """Where an operator's word takes the job; None: it cannot be done from here.

    ``running`` leads to ``pending``: whether the canary is still to be sent is decided there.
    """
    match to:
        case "paused":
            return State.PAUSED if state in (State.PENDING, State.CANARY, State.RUNNING) else None
        case "running":
            return State.PENDING if state in (State.PAUSED, State.STOPPED) else None
        case "cancelled":
            return State.CANCELLED if state not in FINAL else None
