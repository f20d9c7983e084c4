"""What verifying can find, and what one look at a stream says. Pure.

    applied = 0 < version            missing        applied > version      ahead
    0 < applied < version            behind         no such stream         stray
    held, retrying or dead           held           other content          different
    a discarded event stepped over   discarded: said, and nothing wrong

``missing`` and ``behind`` are provisional: the events may be on their way. They count once the store has had its chance (``overdue``).
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
class Look:
    """One stream in one projection, at one moment."""

    stream: str
    version: int
    """The event store's, read after the position; 0: it knows no such stream."""
    position: Position
    drained_at: datetime | None
    """When, by the write database's clock, none of its events was in the outbox; None: some are."""
    discarded: frozenset[int] = frozenset()
    """Versions up to the position that were stepped over."""
    problems: Sequence[Mapping[str, Any]] = ()
    """Where the content is not what the events say, up to the position."""


@dataclass(frozen=True, slots=True)
class ModelProgress:
    """How far a projection says it has come: ``as_of`` of the lane that is furthest behind; ``events`` it has ever applied."""

    as_of: datetime | None
    events: int


def findings(projection: str, look: Look) -> list[Finding]:
    if not look.version:
        there = look.position.applied or look.position.hold is not None or look.problems
        detail = {"applied": look.position.applied, "content": list(look.problems)}
        return [Finding(projection, Kind.STRAY, look.stream, detail)] if there else []
    found = [Finding(projection, Kind.DIFFERENT, look.stream, problem) for problem in look.problems]
    versions = {"applied": look.position.applied, "version": look.version}
    hold = look.position.hold
    if look.position.applied > look.version or (hold is not None and hold.version > look.version):
        found.append(Finding(projection, Kind.AHEAD, look.stream, versions))
    elif hold is not None and hold.status is not HoldStatus.GAP:
        held = {
            "held_at": hold.version,
            "status": hold.status.value,
            "reason": hold.reason,
            "exception": hold.exception,
        }
        found.append(Finding(projection, Kind.HELD, look.stream, versions | held))
    elif look.position.applied < look.version:
        kind = Kind.BEHIND if look.position.applied else Kind.MISSING
        found.append(Finding(projection, kind, look.stream, versions))
    return found


def overdue(since: Look, again: Look, progress: ModelProgress, *, stalled: bool) -> bool:
    """Whether a stream that is behind in two looks will not come by itself.

    ``progress`` was read before the second look. What the outbox had handed on by ``drained_at`` went before every heartbeat that is
    younger, in the same queue: a store that has seen such a heartbeat has had those events, or they were lost. ``stalled``: the
    projection has not moved at all for some seconds, so there is no heartbeat to go by.
    """
    if again.position.applied != since.position.applied:
        return False
    if stalled:
        return True
    return since.drained_at is not None and progress.as_of is not None and progress.as_of > since.drained_at


def differing(expected: Mapping[str, Any] | None, found: Mapping[str, Any] | None) -> dict[str, Any]:
    """What is wrong with a row: by column, a document's fields one by one; or that it is missing, or should not be there."""
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
