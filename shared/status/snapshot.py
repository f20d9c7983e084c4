"""What is known of a system at one moment, part by part: a part that did not answer says so, and hides no other."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from shared.status.queues import QueueStates
from shared.views.processes import ProcessFigures
from shared.views.progress import Freshness

GROWING_MINUTES: Final = 5
QUERIES: Final = "the query service"
COMMANDS: Final = "the command service's HTTP"


@dataclass(frozen=True)
class LetterGroup:
    """Live dead letters with one cause."""

    origin: str
    fingerprint: str
    reason: str
    count: int
    example: int
    since: datetime
    recent: int = 0
    """Of them, those that became dead letters in the last GROWING_MINUTES."""


@dataclass(frozen=True)
class Job:
    id: int
    state: str
    why: str


@dataclass(frozen=True)
class Verification:
    finished_at: datetime
    complete: bool
    differences: int


@dataclass(frozen=True)
class Outbox:
    pending: int
    oldest_s: float


@dataclass(frozen=True)
class ReportedProcess:
    """What a process said of itself last. ``troubles``: component → problem."""

    name: str
    heard_s: float
    troubles: dict[str, str]


@dataclass
class Snapshot:
    """None: the part that knows it did not answer; ``down`` says why."""

    at: datetime
    down: dict[str, str] = field(default_factory=dict)
    """Part → why nothing is known of it."""
    readiness: dict[str, str | None] = field(default_factory=dict)
    """HTTP service → why it is not ready; None: it is."""
    projections: Sequence[Freshness] | None = None
    unavailable: dict[str, str] = field(default_factory=dict)
    """Projection → why its store does not answer, as the query service says."""
    reported: Sequence[ReportedProcess] | None = None
    outbox: Outbox | None = None
    queues: QueueStates | None = None
    groups: Sequence[LetterGroup] | None = None
    jobs: Sequence[Job] | None = None
    verified: Verification | None = None
    """The last one; None also if there was none."""
    process_managers: Sequence[ProcessFigures] | None = None
