"""Requests on ``control``, and the messages that answer them. Each is sent in a CloudEvents envelope, ``Request``.

    operator ──replay, discard, edit, steer──▶ dead-letter worker ──resend──▶ command service ──events──▶ projector
                                                        └──discard.<projector>──▶ projector ──<projector>.passed──▶ dead-letter worker

Every operator request has its ``actor`` and ``reason``; repeating a request with the same ``id`` is harmless.
"""

from itertools import pairwise
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from shared.contracts.values import Actor, Count, Id, SafeText, Timestamp
from shared.messages.claimed_person import ClaimedPerson

MAX_STREAMS: Final = 1000

Reason = Annotated[SafeText, Field(max_length=2000)]


class ControlData(BaseModel):
    """The data of a request on ``control``; ``verb`` is its routing key. Validators are built on first use: no process needs them all."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


Data = TypeVar("Data", bound=ControlData)


class Request(BaseModel, Generic[Data]):
    """The envelope: ``type`` is ``control.<verb>``."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    specversion: Literal["1.0"] = "1.0"
    id: Annotated[SafeText, Field(min_length=1, max_length=200)]
    source: Annotated[SafeText, Field(min_length=1, max_length=500)]
    type: str
    time: Timestamp
    data: Data


class StreamFrom(ControlData):
    """A stream, and the first version requested."""

    stream: str
    version: Annotated[int, Field(ge=1)]


RESEND: Final = "control.resend"


class Resend(ControlData):
    """Resend the events of these streams, from the given versions on, to one projection only. Repeating it is harmless."""

    projection: str
    streams: Annotated[tuple[StreamFrom, ...], Count(1, MAX_STREAMS)]


HEADS: Final = "control.heads"


class AskHeads(ControlData):
    """Send this projection the heads of the lane's streams that have changed since then (None: of all), on its own lane."""

    projection: str
    lane: Annotated[int, Field(ge=0)]
    since: Timestamp | None


COMPARE: Final = "control.compare-versions"
MAX_COMPARED: Final = 5000


class CompareVersions(ControlData):
    """Which of these streams are ahead of what the write database has in common with the epochs ``known``? Sent by a projection that has
    detected another ``epoch``.

    ``streams``: (stream, applied version).
    The reply, VersionsCompared, repeats ``cursor``, ``following`` and ``last`` unchanged.
    """

    projection: str
    generation: Annotated[int, Field(ge=1)]
    epoch: str
    known: tuple[str, ...]
    cursor: str
    following: str
    """The start of this batch of the projection's streams, and of the next one."""
    last: bool
    streams: Annotated[tuple[tuple[str, int], ...], Field(max_length=MAX_COMPARED)]


COMPARED: Final = "projection.compared"


class VersionsCompared(ControlData):
    """The reply: those of the given streams that are ahead of the write database at the beginning of the epoch."""

    projection: str
    generation: int
    epoch: str
    cursor: str
    following: str
    last: bool
    ahead: tuple[tuple[str, int, int], ...]
    """(stream, applied version, version at the beginning of the epoch)."""


HISTORY: Final = "control.history"
MAX_HISTORY: Final = 20_000


class ReadHistory(ControlData):
    """Send this projection the next events, in (stream, version) order, for one of its generations; a page of at most ``limit``.

    They are sent to the projection's history queue, between one HistoryPage that announces them and one that completes them.
    """

    projection: str
    generation: Annotated[int, Field(ge=2)]
    after_stream: str = ""
    after_version: Annotated[int, Field(ge=0)] = 0
    limit: Annotated[int, Field(ge=1, le=MAX_HISTORY)]
    count: bool = False
    """Whether to return the total number of events."""
    kinds: tuple[str, ...] | None = None
    """The kinds of stream to send, which alone are counted; None: all."""


INQUIRE: Final = "control.inquire"


class Inquire(ControlData):
    """To a projector: report which of these events, which held their streams, have been passed."""

    projection: str
    events: Annotated[tuple[StreamFrom, ...], Count(1, MAX_STREAMS)]


STEP_OVER: Final = "control.step-over"


class StepOver(ControlData):
    """To a projector: advance this stream past ``version`` without applying it. Does nothing unless the stream is held there."""

    projection: str
    stream: str
    version: Annotated[int, Field(ge=1)]
    actor: Actor
    reason: Reason


PASSED: Final = "projection.passed"


class PassedEvent(ControlData):
    stream: str
    version: int
    how: Literal["applied", "discarded", "not-read"]
    """``not-read``: the projection does not read streams of its kind."""


class Passed(ControlData):
    """From a projector: these events held their streams, and no longer do."""

    projection: str
    events: Annotated[tuple[PassedEvent, ...], Field(min_length=1)]


class Selection(ControlData):
    """The dead letters that a request is about: those that meet all given criteria. ``everything`` must be explicit."""

    letter_ids: tuple[int, ...] | None = None
    origin: str | None = None
    """A projector's name, or ``commands``."""
    fingerprint: str | None = None
    stream: str | None = None
    type: str | None = None
    failed_from: Timestamp | None = None
    failed_to: Timestamp | None = None
    text: Annotated[SafeText, Field(max_length=200)] | None = None
    """A substring of the exception or the reason."""
    everything: bool = False


def _ascending(steps: tuple[int, ...]) -> tuple[int, ...]:
    if any(later <= earlier for earlier, later in pairwise(steps)):
        raise ValueError("each step is larger than the one before it")
    return steps


REPLAY: Final = "control.replay"
Percent = Annotated[int, Field(ge=1, le=99)]


class Replay(ClaimedPerson, ControlData):
    """Freeze a selection into a job and send its letters through the normal path again."""

    selection: Selection
    actor: Actor
    reason: Reason = ""
    rate: Annotated[float, Field(gt=0, le=100_000)] | None = None
    """Letters a second; None: limited only by their results."""
    canary: Annotated[int, Field(ge=0, le=10_000)] = 0
    """The size of the first batch; the job continues only if all of it succeeds."""
    ramp: Annotated[tuple[Percent, ...], Field(max_length=10), AfterValidator(_ascending)] = ()
    """After the canary, so many percent of the letters, then so many, then all. Before each step the outcomes of all letters of the one
    before are awaited; the job stops if ``stop_after`` of these have failed again, or all."""
    concurrency: Annotated[int, Field(ge=1, le=10_000)] = 4000
    """Maximum number of letters under way at the same time."""
    stop_after: Annotated[int, Field(ge=1)] | None = 10
    """The job stops when this many of its letters fail again with their previous fingerprint; None: never."""
    dry_run: bool = False


DISCARD: Final = "control.discard"


class Discard(ClaimedPerson, ControlData):
    """Give up the selected letters: projections skip their events, commands are dropped."""

    selection: Selection
    actor: Actor
    reason: Annotated[SafeText, Field(min_length=1, max_length=2000)]
    dry_run: bool = False


EDIT: Final = "control.edit"


class Edit(ClaimedPerson, ControlData):
    """Send a dead command again with other data, under a new id; the original is kept, and both refer to each other."""

    letter_id: int
    command_id: Id | None = None
    """The new command's id; generated if missing."""
    type: str | None = None
    subject: str | None = None
    data: dict[str, Any]
    may: tuple[SafeText, ...] | None = None
    """The types of command that the actor may send, wildcards included; None: all, for an administrator of the broker."""
    actor: Actor
    reason: Annotated[SafeText, Field(min_length=1, max_length=2000)]


STEER: Final = "control.steer"


class Steer(ClaimedPerson, ControlData):
    """Pause, resume or cancel a replay job."""

    job_id: int
    to: Literal["paused", "running", "cancelled"]
    actor: Actor
    reason: Reason = ""


REBUILD: Final = "control.rebuild"


class Rebuild(ControlData):
    """To a projector: build this generation from history, beside the existing ones. Resumes by itself after any crash."""

    projection: str
    generation: Annotated[int, Field(ge=2, le=9999)]
    rate: Annotated[float, Field(gt=0, le=1_000_000)] | None = None
    """Maximum number of events a second; None: as fast as live events allow."""
    actor: Actor
    reason: Reason = ""


class OfGeneration(ControlData):
    """A request about an existing generation."""

    projection: str
    generation: Annotated[int, Field(ge=1, le=9999)]
    actor: Actor
    reason: Reason = ""


ACTIVATE: Final = "control.activate"


class Activate(OfGeneration):
    """To a projector: make this generation the one that queries read."""


ROLLBACK: Final = "control.rollback"


class Rollback(ControlData):
    """To a projector: reactivate the previously active generation."""

    projection: str
    actor: Actor
    reason: Reason = ""


ADOPT_EPOCH: Final = "control.adopt-epoch"
DROP: Final = "control.drop"


class AdoptEpoch(OfGeneration):
    """To a projector: continue with this generation, although the write database has lost events that it has applied."""


class Drop(OfGeneration):
    """To a projector: delete this generation and its data. Refused for the active one."""


ACTED: Final = "projection.acted"


class Acted(ControlData):
    """From a process that is asked to act: an operator's request about a projection's generations, about a process, or about a scheduled
    command, is done (of a scheduled command: is asked for), or a person is erased. Recorded in the audit, once for each ``asked_at``."""

    projection: str
    """A projection, a process manager, or ``commands``."""
    act: str
    generation: int
    """For a rollback, the one that is active again."""
    subject: str = ""
    """The process, the command or the person that an act was about; of a projection: empty."""
    details: dict[str, str] | None = None
    actor: Actor
    reason: Reason
    request_id: str
    asked_at: Timestamp
    """The request's own time."""
