"""Requests on ``control``, and the news on ``changes`` that answers them. Each travels as a CloudEvents envelope, ``Request``.

    operator ──replay, discard, edit, steer──▶ dead-letter worker ──resend──▶ command service ──events──▶ projector
                                                        └──discard.<projector>──▶ projector ──<projector>.passed──▶ dead-letter worker

Every act of an operator names its ``actor`` and ``reason``; the ``id`` of its request makes asking twice harmless.
"""

from typing import Annotated, Any, Final, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from shared.contracts.values import Actor, Count, Id, SafeText, Timestamp

MAX_STREAMS: Final = 1000

Reason = Annotated[SafeText, Field(max_length=2000)]


class ControlData(BaseModel):
    """What a request on ``control`` asks for; ``verb`` is its routing key. Nobody uses all of them: each is built when it is needed."""

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
    """A stream, and the first version wanted of it."""

    stream: str
    version: Annotated[int, Field(ge=1)]


RESEND: Final = "control.resend"


class Resend(ControlData):
    """Send these streams' events again, from the given versions on, to one projection alone. Asking twice is harmless."""

    projection: str
    streams: Annotated[tuple[StreamFrom, ...], Count(1, MAX_STREAMS)]


HEADS: Final = "control.heads"


class AskHeads(ControlData):
    """Tell this projection the heads of the lane's streams that have changed since then (None: of all), over its own lane."""

    projection: str
    lane: Annotated[int, Field(ge=0)]
    since: Timestamp | None


COMPARE: Final = "control.compare-versions"
MAX_COMPARED: Final = 5000


class CompareVersions(ControlData):
    """Which of these streams are ahead of what the write database has in common with the epochs ``known``? From a projection that has
    heard of another ``epoch``.

    ``streams``: (stream, the version it has applied).
    The answer, VersionsCompared, carries ``cursor``, ``following`` and ``last`` as they are.
    """

    projection: str
    generation: Annotated[int, Field(ge=1)]
    epoch: str
    known: tuple[str, ...]
    cursor: str
    following: str
    """Where this portion of the projection's streams begins, and the next one."""
    last: bool
    streams: Annotated[tuple[tuple[str, int], ...], Field(max_length=MAX_COMPARED)]


COMPARED: Final = "projection.compared"


class VersionsCompared(ControlData):
    """The answer: of the streams asked about, those that are ahead of what there was when the epoch began."""

    projection: str
    generation: int
    epoch: str
    cursor: str
    following: str
    last: bool
    ahead: tuple[tuple[str, int, int], ...]
    """(stream, the version that is applied, the version that it had when the epoch began)."""


HISTORY: Final = "control.history"
MAX_HISTORY: Final = 20_000


class ReadHistory(ControlData):
    """Send this projection the events that follow, in (stream, version) order, for one of its generations; a page of at most ``limit``.

    They go to the projection's history queue between a HistoryPage that says what is coming and one that says it has come.
    """

    projection: str
    generation: Annotated[int, Field(ge=2)]
    after_stream: str = ""
    after_version: Annotated[int, Field(ge=0)] = 0
    limit: Annotated[int, Field(ge=1, le=MAX_HISTORY)]
    count: bool = False
    """Whether to say how many events there are in all."""


INQUIRE: Final = "control.inquire"


class Inquire(ControlData):
    """To a projector: which of these events, that once held their streams, have you got past?"""

    projection: str
    events: Annotated[tuple[StreamFrom, ...], Count(1, MAX_STREAMS)]


STEP_OVER: Final = "control.step-over"


class StepOver(ControlData):
    """To a projector: advance this stream past ``version`` without applying it. Nothing happens unless it waits there."""

    projection: str
    stream: str
    version: Annotated[int, Field(ge=1)]
    actor: Actor
    reason: Reason


PASSED: Final = "projection.passed"


class PassedEvent(ControlData):
    stream: str
    version: int
    how: Literal["applied", "discarded"]


class Passed(ControlData):
    """From a projector: these events held their streams, and hold them no longer."""

    projection: str
    events: Annotated[tuple[PassedEvent, ...], Field(min_length=1)]


class Selection(ControlData):
    """Which dead letters an act is about: all that fit every criterion given. ``everything`` must be said, not implied."""

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


REPLAY: Final = "control.replay"


class Replay(ControlData):
    """Freeze a selection into a job and send its letters through the normal path again."""

    selection: Selection
    actor: Actor
    reason: Reason = ""
    rate: Annotated[float, Field(gt=0, le=100_000)] | None = None
    """Letters a second; None: as fast as they are answered."""
    canary: Annotated[int, Field(ge=0, le=10_000)] = 0
    """So many first; the job goes on only when all of them have succeeded."""
    concurrency: Annotated[int, Field(ge=1, le=10_000)] = 4000
    """Most letters under way at any time."""
    stop_after: Annotated[int, Field(ge=1)] | None = 10
    """The job stops itself when this many of its letters came back with a fingerprint they had before; None: never."""
    dry_run: bool = False


DISCARD: Final = "control.discard"


class Discard(ControlData):
    """Give up the selected letters: projections step over their events, commands are dropped."""

    selection: Selection
    actor: Actor
    reason: Annotated[SafeText, Field(min_length=1, max_length=2000)]
    dry_run: bool = False


EDIT: Final = "control.edit"


class Edit(ControlData):
    """Send a dead command again with other data, under a new id; the original is kept, and each knows of the other."""

    letter_id: int
    command_id: Id | None = None
    """The new command's id; one is made where it is missing."""
    type: str | None = None
    subject: str | None = None
    data: dict[str, Any]
    actor: Actor
    reason: Annotated[SafeText, Field(min_length=1, max_length=2000)]


STEER: Final = "control.steer"


class Steer(ControlData):
    """Pause, resume or cancel a replay job."""

    job_id: int
    to: Literal["paused", "running", "cancelled"]
    actor: Actor
    reason: Reason = ""


REBUILD: Final = "control.rebuild"


class Rebuild(ControlData):
    """To a projector: build this generation from history, beside those there are. Resumes by itself after any crash."""

    projection: str
    generation: Annotated[int, Field(ge=2, le=9999)]
    rate: Annotated[float, Field(gt=0, le=1_000_000)] | None = None
    """Most events a second; None: as fast as live events allow."""
    actor: Actor
    reason: Reason = ""


class OfGeneration(ControlData):
    """What is ordered about a generation that there is."""

    projection: str
    generation: Annotated[int, Field(ge=1, le=9999)]
    actor: Actor
    reason: Reason = ""


ACTIVATE: Final = "control.activate"


class Activate(OfGeneration):
    """To a projector: from now on queries are answered from this generation."""


ROLLBACK: Final = "control.rollback"


class Rollback(ControlData):
    """To a projector: make the generation active again that was so before."""

    projection: str
    actor: Actor
    reason: Reason = ""


ADOPT_EPOCH: Final = "control.adopt-epoch"
DROP: Final = "control.drop"


class AdoptEpoch(OfGeneration):
    """To a projector: the write database has lost what this generation has; go on with it all the same."""


class Drop(OfGeneration):
    """To a projector: forget this generation and its data. Refused for the active one."""


ACTED: Final = "projection.acted"


class Acted(ControlData):
    """From a projector: what an operator ordered about its generations is done. Kept in the audit, once for each ``asked_at``."""

    projection: str
    act: str
    generation: int
    """For a rollback, the one that is active again."""
    actor: Actor
    reason: Reason
    request_id: str
    asked_at: Timestamp
    """The order's own time."""
