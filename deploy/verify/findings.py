"""The kinds of findings, and the findings that follow from one observation of a stream. Pure.

    applied = 0 < version            missing        applied > version      ahead
    0 < applied < version            behind         no such stream         stray
    held, retrying or dead           held           other content          different
    a discarded event skipped        discarded: reported, and not wrong
    a conservation law broken        law (``laws``)

``missing`` and ``behind`` are provisional: the events may be in transit. They are reported once they are ``overdue``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from projectors.stores.port import HoldStatus, Position

EVENT_STORE: Final = "event store"


class Kind(StrEnum):
    MISSING = "missing"
    BEHIND = "behind"
    AHEAD = "ahead"
    DIFFERENT = "different"
    STRAY = "stray"
    HELD = "held"
    DISCARDED = "discarded"
    LAW = "law"


PROVISIONAL: Final = frozenset({Kind.MISSING, Kind.BEHIND})


@dataclass(frozen=True, slots=True)
class Finding:
    projection: str
    """Or EVENT_STORE."""
    kind: Kind
    place: str
    """A stream; for figures a key of the store and a member."""
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Observation:
    """One stream in one projection, at one moment."""

    stream: str
    version: int
    """The version in the event store, read after the position; 0: it has no such stream."""
    position: Position
    drained_at: datetime | None
    """A time of the write database's clock at which the outbox contained none of its events; None: it contains some."""
    discarded: frozenset[int] = frozenset()
    """Versions up to the position that were skipped."""
    problems: Sequence[Mapping[str, Any]] = ()
    """Differences between the content and the events up to the position."""


@dataclass(frozen=True, slots=True)
class ModelProgress:
    """A projection's progress: ``as_of`` of the lane that is furthest behind; ``events``: the number ever applied."""

    as_of: datetime | None
    events: int


def findings(projection: str, observation: Observation) -> list[Finding]:
    if not observation.version:
        there = observation.position.applied or observation.position.hold is not None or observation.problems
        detail = {"applied": observation.position.applied, "content": list(observation.problems)}
        return [Finding(projection, Kind.STRAY, observation.stream, detail)] if there else []
    found = [
        Finding(projection, Kind.LAW if "law" in problem else Kind.DIFFERENT, observation.stream, problem)
        for problem in observation.problems
    ]
    versions = {"applied": observation.position.applied, "version": observation.version}
    hold = observation.position.hold
    if observation.position.applied > observation.version or (hold is not None and hold.version > observation.version):
        found.append(Finding(projection, Kind.AHEAD, observation.stream, versions))
    elif hold is not None and hold.status is not HoldStatus.GAP:
        held = {
            "held_at": hold.version,
            "status": hold.status.value,
            "reason": hold.reason,
            "exception": hold.exception,
        }
        found.append(Finding(projection, Kind.HELD, observation.stream, versions | held))
    elif observation.position.applied < observation.version:
        kind = Kind.BEHIND if observation.position.applied else Kind.MISSING
        found.append(Finding(projection, kind, observation.stream, versions))
    return found


def overdue(first: Observation, second: Observation, progress: ModelProgress, *, stalled: bool) -> bool:
    """Whether a stream that is behind in two observations will not catch up without a resend.

    ``progress`` was read before the second observation. Events that left the outbox by ``drained_at`` precede all later heartbeats in
    the same queue: a store that has received such a heartbeat has received those events, or they were lost. ``stalled``: the projection
    has made no progress for some seconds, so there is no heartbeat to compare with.
    """
    if second.position.applied != first.position.applied:
        return False
    if stalled:
        return True
    return first.drained_at is not None and progress.as_of is not None and progress.as_of > first.drained_at


def differing(expected: Mapping[str, Any] | None, found: Mapping[str, Any] | None) -> dict[str, Any]:
    """The differences of a row by column, in documents by field; or that the row is missing or unexpected."""
    if found is None:
        return {"row": "missing"}
    if expected is None:
        return {"row": "unexpected"}
    columns: dict[str, Any] = {}
    for name in {**expected, **found}:
        want, have = expected.get(name), found.get(name)
        if want == have:
            continue
        if isinstance(want, dict) and isinstance(have, dict):
            for part in {**want, **have}:
                if want.get(part) != have.get(part) or (part in want) != (part in have):
                    columns[f"{name}.{part}"] = {"expected": want.get(part), "found": have.get(part)}
        else:
            columns[name] = {"expected": want, "found": have}
    return {"columns": columns}
