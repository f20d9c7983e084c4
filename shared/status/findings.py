"""What is wrong, and what to type about it: pure, from a snapshot.

lost      something may be gone or different: the last verification found so
held      streams wait for an operator, or for what comes by itself
growing   more become held for a cause that has been there for some minutes
late      something takes longer than it should
stopped   something does nothing until an operator acts, or until a server is there again
unknown   a part did not answer, so nothing can be said of it
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from shared.messaging.access import ACCESS, LANE
from shared.status.queues import LANES
from shared.status.snapshot import COMMANDS, GROWING_MINUTES, QUERIES, Snapshot
from shared.views.processes import ProcessFigures
from shared.views.progress import Freshness, FreshnessStatus

OUTBOX_S: Final = 10.0
"""An event leaves the outbox within milliseconds; a relay that stands in takes a few seconds."""
SILENT_S: Final = 6.0
MOST_NAMED: Final = 3
VERIFY_EVERY: Final = timedelta(days=1)
IDLE_JOBS: Final = ("paused", "stopped")
NEXT_FOR_PART: Final = {QUERIES: "tidemark health query", COMMANDS: "tidemark health http"}


class Kind(StrEnum):
    LOST = "lost"
    HELD = "held"
    GROWING = "growing"
    LATE = "late"
    STOPPED = "stopped"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """``next``: the command to type; empty: nothing, or what ``what`` says. ``see``: the query service's path that says more, likewise."""

    kind: Kind
    where: str
    what: str
    next: str = ""
    see: str = ""


def findings(found: Snapshot) -> Sequence[Finding]:
    """Every finding, in the order of ``Kind``."""
    every = [
        *_parts(found),
        *_verified(found),
        *_projections(found),
        *_letters(found),
        *_outbox(found),
        *_queues(found),
        *_reported(found),
        *(each for one in found.process_managers or () for each in _process_manager(one)),
    ]
    order = list(Kind)
    return sorted(dict.fromkeys(every), key=lambda each: order.index(each.kind))


def hints(found: Snapshot) -> Sequence[str]:
    """What is not wrong, and good to know."""
    if found.groups is None:
        return []
    if found.verified is None:
        return ["nothing has been verified yet: tidemark verify"]
    age = found.at - found.verified.finished_at
    if age > VERIFY_EVERY:
        return [f"the last verification was {_duration(age.total_seconds())} ago: tidemark verify"]
    return []


class Health(StrEnum):
    WELL = "well"
    UNKNOWN = "unknown"
    ATTENTION = "attention"
    BROKEN = "broken"


BROKEN: Final = frozenset({Kind.LOST, Kind.STOPPED})


def health(every: Sequence[Finding]) -> Health:
    """The worst of what was found: something lost or stopped; held, growing or late; or only parts that did not answer."""
    kinds = {each.kind for each in every}
    if kinds & BROKEN:
        return Health.BROKEN
    if kinds - {Kind.UNKNOWN}:
        return Health.ATTENTION
    return Health.UNKNOWN if kinds else Health.WELL


def verdict(every: Sequence[Finding]) -> str:
    """One sentence."""
    counts = {kind: sum(each.kind is kind for each in every) for kind in Kind}
    named = [f"{count} {kind.value}" for kind, count in counts.items() if count and kind is not Kind.UNKNOWN]
    silent = counts[Kind.UNKNOWN]
    parts = f"{silent} {'part does' if silent == 1 else 'parts do'} not answer"
    if not named:
        return f"Nothing is known to be wrong, but {parts}." if silent else "Nothing is lost, held, late or stopped."
    lost = "Something may be lost" if counts[Kind.LOST] else "Nothing is known to be lost"
    return f"{lost}; findings: {', '.join(named)}{f'; {parts}' if silent else ''}."


def _parts(found: Snapshot) -> Iterator[Finding]:
    for part, why in found.down.items():
        yield Finding(Kind.UNKNOWN, part, f"does not answer: {why}", NEXT_FOR_PART.get(part, ""))


def _verified(found: Snapshot) -> Iterator[Finding]:
    last = found.verified
    if last is not None and last.differences:
        ago = _duration((found.at - last.finished_at).total_seconds())
        what = f"the last verification, {ago} ago, found {_count(last.differences, 'difference')}"
        yield Finding(Kind.LOST, "verify", what, "tidemark verify", "/checks")


def _projections(found: Snapshot) -> Iterator[Finding]:
    for name, why in found.unavailable.items():
        what = f"its store does not answer the query service: {why}"
        yield Finding(Kind.STOPPED, name, what, f"tidemark health {name}", f"/projections/{name}")
    for one in found.projections or ():
        yield from _projection(one)


def _projection(one: Freshness) -> Iterator[Finding]:
    name, see = one.projection, f"/projections/{one.projection}"
    if one.stopped is not None:
        command = "tidemark verify" if one.stopped.waits_for == "operator" else "tidemark projections status"
        yield Finding(Kind.STOPPED, name, one.stopped.detail, command, see)
    elif one.status is FreshnessStatus.STALLED:
        yield Finding(Kind.STOPPED, name, one.reason or "nothing moves", f"tidemark health {name}", see)
    elif one.status is FreshnessStatus.BEHIND:
        behind = "its age is not known" if one.lag_seconds is None else f"{_duration(one.lag_seconds)} behind"
        yield Finding(Kind.LATE, name, f"{behind}, and catching up", f"tidemark projections status {name}", see)
    if one.held:
        command = f"tidemark dead-letters groups --projector {name}"
        yield Finding(
            Kind.HELD,
            name,
            f"{_count(one.held, 'stream')} {'is' if one.held == 1 else 'are'} held",
            command,
            f"/dead-letters/groups?origin={name}",
        )
    if one.incomplete is not None:
        yield Finding(Kind.STOPPED, name, one.incomplete.detail, f"tidemark projections rebuild {name}", see)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _letters(found: Snapshot) -> Iterator[Finding]:
    for group in found.groups or ():
        since = _duration((found.at - group.since).total_seconds())
        what = f"{_count(group.count, 'dead letter')} for one cause ({group.reason}), the first {since} ago"
        command, see = f"tidemark dead-letters show {group.example}", f"/dead-letters/{group.example}"
        yield Finding(Kind.HELD, group.origin, what, command, see)
        if group.recent and found.at - group.since > timedelta(minutes=GROWING_MINUTES):
            what = f"{group.recent:,} more in the last {GROWING_MINUTES} minutes for one cause ({group.reason})"
            yield Finding(Kind.GROWING, group.origin, what, command, see)
    for job in found.jobs or ():
        if job.state in IDLE_JOBS:
            what = f"replay job {job.id} is {job.state}{f': {job.why}' if job.why else ''}"
            command, see = f"tidemark dead-letters jobs resume {job.id}", f"/dead-letters/jobs/{job.id}"
            yield Finding(Kind.STOPPED, "dead_letters", what, command, see)


def _outbox(found: Snapshot) -> Iterator[Finding]:
    if found.outbox is not None and found.outbox.oldest_s > OUTBOX_S:
        what = (
            f"{_count(found.outbox.pending, 'event')} in the outbox, the oldest for {_duration(found.outbox.oldest_s)}"
        )
        yield Finding(Kind.LATE, "relay", what, "tidemark health relay")


def _queues(found: Snapshot) -> Iterator[Finding]:
    if found.queues is None:
        return
    for name in found.queues.missing:
        yield Finding(Kind.STOPPED, "RabbitMQ", f"the queue {name} does not exist", "tidemark migrate")
    unread: dict[str, list[str]] = {}
    for label, count in found.queues.unconsumed.items():
        if count:
            unread.setdefault(_reader_of(label), []).append(label)
    for reader, labels in unread.items():
        others = f" and {len(labels) - MOST_NAMED} more" if len(labels) > MOST_NAMED else ""
        what = f"nothing consumes from {', '.join(labels[:MOST_NAMED])}{others}: is it running?"
        yield Finding(Kind.STOPPED, reader, what, f"tidemark health {reader}")


def _reader_of(label: str) -> str:
    """The deployable that consumes from these queues."""
    queue = f"{label.removesuffix(f' {LANES}')}.{LANE}" if label.endswith(f" {LANES}") else label
    return next(name for name, access in ACCESS.items() if queue in access.consumes)


def _reported(found: Snapshot) -> Iterator[Finding]:
    for one in found.reported or ():
        if one.heard_s > SILENT_S:
            what = f"it has said nothing for {_duration(one.heard_s)}: is it running?"
            yield Finding(Kind.STOPPED, one.name, what, f"tidemark health {one.name}")
        for component, problem in one.troubles.items():
            yield Finding(Kind.STOPPED, one.name, f"{component}: {problem}", f"tidemark health {one.name}")
    if not any(each.troubles for each in found.reported or ()):
        for service, why in found.readiness.items():
            if why is not None:
                yield Finding(Kind.STOPPED, service, f"it is not ready: {why}", f"tidemark health {service}")


def _process_manager(one: ProcessFigures) -> Iterator[Finding]:
    of_manager = f"/processes?name={one.name}"
    if one.failed:
        what = f"{'1 process has' if one.failed == 1 else f'{one.failed:,} processes have'} failed, waiting for a retry"
        command, see = f"tidemark processes list --name {one.name} --state failed", f"{of_manager}&state=failed"
        yield Finding(Kind.HELD, one.name, what, command, see)
    if one.timers_overdue:
        what = f"{_count(one.timers_overdue, 'timer')} overdue"
        yield Finding(Kind.LATE, one.name, what, "tidemark health processes", of_manager)
    if one.commands_overdue:
        what = f"{_count(one.commands_overdue, 'command')} sent again, without an outcome yet"
        yield Finding(Kind.LATE, one.name, what, f"tidemark processes list --name {one.name}", of_manager)


def _duration(seconds: float) -> str:
    """In the largest unit of which there are two."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
