"""The operations database, written by the dead-letter worker and read by others (``projectors/dead_letters/migrations``).

- ``letters``: one row for each event of a projection, and each command or undecodable message, that ever became a dead letter; without
  its payload. ``dead`` and ``replaying`` are live. An event that fails again is the same letter; so is a command with its id and data.
- ``payloads``: body, headers and stack trace of a letter: restricted.
- ``letter_failures``: each failure of a letter, once.
- ``jobs``, ``job_items``: replay jobs, their frozen selections, and the result for each letter.
- ``discards``: requests to skip events, until they are done. ``resent_commands``: edited commands, with the letter each replaces.
- ``group_notes``: what operators say of a cause. ``operators_acts``: whether acts over HTTP are forbidden.
- ``checks``: verifications and comparisons that were asked for, and what came of them.
- ``queue_depths``: how many messages wait in each queue. ``builds``: the version of each process.
- ``audit``: who did what, when and why; append-only, each row chained to the one before it by a hash; ``audit_head``: its end.

Statements: ``shared.views.operations_queries``. Counts of a job: queued + under_way + succeeded + failed + skipped = total.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal

from pydantic import BaseModel

SCHEMA: Final = "operations"
"""The PostgreSQL schema of the tables: the search_path of writer and reader."""


class LetterStatus(StrEnum):
    DEAD = "dead"
    REPLAYING = "replaying"
    RESOLVED = "resolved"
    DISCARDED = "discarded"
    SUPERSEDED = "superseded"


class LetterView(BaseModel):
    """A letter in a list, without its payload."""

    id: int
    origin: str
    """A projector's name, or ``commands``."""
    stream: str | None
    version: int | None
    type: str | None
    command_id: str | None
    reason: str
    """Stable, kebab-case: projection-failed, unknown-type, undecodable-event, handler-failed, delivery-limit …"""
    exception: str
    fingerprint: str
    attempts: int
    first_failed_at: datetime
    last_failed_at: datetime
    waiting: int
    """Events known to wait behind it in its stream."""
    trace_id: str | None
    size: int
    """Bytes of the body."""
    status: LetterStatus
    resolved_at: datetime | None
    resolution: str | None
    """applied, discarded, replayed (a command), edited, or not-read: the projection does not read streams of its kind any more."""
    replaces: int | None
    """The letter whose edited command this is."""
    replaced_by: str | None
    """The id of the command sent instead."""
    discarding: bool
    """A discard was requested, and the projection has not confirmed it yet."""


class FailureView(BaseModel):
    failed_at: datetime
    attempts: int
    reason: str
    exception: str
    fingerprint: str


class EditedCommandView(BaseModel):
    """A command sent in place of a dead one."""

    command_id: str
    type: str
    actor: str
    reason: str
    created_at: datetime
    published_at: datetime | None


class LetterDetail(LetterView):
    """A letter with its payload and history."""

    routing_key: str
    reply_to: str | None
    correlation_id: str | None
    content_type: str
    body: str
    """As text; bytes that are not UTF-8 are replaced."""
    headers: dict[str, Any]
    trace: str
    failures: list[FailureView]
    """The latest 100, newest first."""
    edited: list[EditedCommandView]


class GroupView(BaseModel):
    """Live letters with the same cause."""

    origin: str
    fingerprint: str
    reason: str
    exception: str
    """That of the example."""
    count: int
    replaying: int
    waiting: int
    types: list[str]
    first_failed_at: datetime
    last_failed_at: datetime
    example: int
    """The id of the latest letter."""


class ReadOnlyView(BaseModel):
    """Whether operators' acts over HTTP are forbidden, and by whom."""

    on: bool
    since: datetime | None = None
    """When it was last changed; null: never."""
    by: str | None = None
    reason: str | None = None

    @classmethod
    def of(cls, row: Any) -> "ReadOnlyView":
        """From READ_ONLY's row, a mapping; None: they have never been forbidden."""
        return cls(on=False) if row is None else cls(**row)


class JobState(StrEnum):
    PENDING = "pending"
    CANARY = "canary"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class JobView(BaseModel):
    id: int
    request_id: str
    actor: str
    reason: str
    selection: dict[str, Any]
    rate: float | None
    canary: int
    ramp: list[int]
    """Steps after the canary, in percent of the letters; then all."""
    steps_over: int
    """How many of these steps are behind it."""
    up_to: int
    """How many letters it sends before it waits for what comes of them: the canary, the step, or all."""
    concurrency: int
    stop_after: int | None
    state: JobState
    why: str
    """Why the job is in this state, where no operator requested it."""
    total: int
    queued: int
    under_way: int
    succeeded: int
    failed: int
    skipped: int
    same: int
    """How many of the failed ones have the same fingerprint as before."""
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class JobLetterView(BaseModel):
    """A letter of a job's frozen selection."""

    ord: int
    """Its place: 1, 2, 3 …"""
    letter_id: int
    status: str
    """queued, sent, succeeded, failed or skipped."""
    outcome: str | None
    sent_at: datetime | None


class AuditEntry(BaseModel):
    id: int
    number: int
    """Its place in the chain: 1, 2, 3 … without gaps."""
    at: datetime
    actor: str
    act: str
    reason: str
    letter_id: int | None
    job_id: int | None
    projection: str | None
    """The projection whose generations, or the process manager whose process the act changed; ``commands``: a scheduled command."""
    request_id: str | None
    details: dict[str, Any]
    hash: str
    """SHA-256 over the hash of the entry before it and its own content, in hexadecimal digits."""


ACCEPTED: Final[Literal["operation.accepted"]] = "operation.accepted"
REJECTED: Final[Literal["operation.rejected"]] = "operation.rejected"


class LetterPreview(BaseModel):
    id: int
    origin: str
    stream: str | None = None
    version: int | None = None
    type: str | None = None
    command_id: str | None = None
    exception: str
    attempts: int
    last_failed_at: datetime


class Done(BaseModel):
    """The result of an operator's request. ``dry_run``: what the result would be; nothing was written."""

    request_id: str
    verb: str
    dry_run: bool = False
    job_id: int | None = None
    count: int | None = None
    """Letters that the act affects."""
    left_out: int | None = None
    """Selected letters that cannot be replayed: they name no stream."""
    letters: list[LetterPreview] = []
    """The first of these."""
    command_id: str | None = None
    """The edited command's id."""
    state: JobState | None = None
    check_id: int | None = None


class Refused(BaseModel):
    """``code``: validation-failed, nothing-selected, letter-not-found, letter-closed, group-not-found, not-a-command, not-editable,
    job-not-found, invalid-transition, check-not-found, check-closed, too-many-checks, request-id-reused, internal-error."""

    request_id: str
    verb: str
    code: str
    message: str
    errors: list[dict[str, Any]] = []


class OperationAnswer(BaseModel):
    """The envelope of a reply: CloudEvents, structured JSON, sent to the request's ``reply_to`` with its ``correlation_id``."""

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: Literal["operation.accepted", "operation.rejected"]
    time: datetime
    data: Done | Refused
