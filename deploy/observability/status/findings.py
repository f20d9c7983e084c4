"""What is wrong, and what to type about it: pure, from a snapshot.

lost      something may be gone or different: the last verification found so
held      streams wait for an operator, or for what comes by itself
late      something takes longer than it should
stopped   something does nothing until an operator acts, or until a server is there again
unknown   a part did not answer, so nothing can be said of it
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from deploy.observability.status.snapshot import COMMANDS, QUERIES, Snapshot
from projectors.dead_letters.queue_figures import LANES
from shared.messaging.access import ACCESS, LANE
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
    LATE = "late"
    STOPPED = "stopped"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """``next``: the command to type; empty: nothing, or what ``what`` says."""

    kind: Kind
    where: str
    what: str
    next: str = ""


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


def _parts(found: Snapshot) -> Iterator[Finding]:
    for part, why in found.down.items():
        yield Finding(Kind.UNKNOWN, part, f"does not answer: {why}", NEXT_FOR_PART.get(part, ""))


def _verified(found: Snapshot) -> Iterator[Finding]:
    last = found.verified
    if last is not None and last.differences:
        ago = _duration((found.at - last.finished_at).total_seconds())
        what = f"the last verification, {ago} ago, found {last.differences:,} differences"
        yield Finding(Kind.LOST, "verify", what, "tidemark verify")


def _projections(found: Snapshot) -> Iterator[Finding]:
    for name, why in found.unavailable.items():
        yield Finding(
            Kind.STOPPED, name, f"its store does not answer the query service: {why}", f"tidemark health {name}"
        )
    for one in found.projections or ():
        yield from _projection(one)


def _projection(one: Freshness) -> Iterator[Finding]:
    name = one.projection
    if one.stopped is not None:
        command = "tidemark verify" if one.stopped.waits_for == "operator" else "tidemark projections status"
        yield Finding(Kind.STOPPED, name, one.stopped.detail, command)
    elif one.status is FreshnessStatus.STALLED:
        yield Finding(Kind.STOPPED, name, one.reason or "nothing moves", f"tidemark health {name}")
    elif one.status is FreshnessStatus.BEHIND:
        behind = "its age is not known" if one.lag_seconds is None else f"{_duration(one.lag_seconds)} behind"
        yield Finding(Kind.LATE, name, f"{behind}, and catching up", f"tidemark projections status {name}")
    if one.held:
        yield Finding(
            Kind.HELD, name, f"{one.held:,} streams are held", f"tidemark dead-letters groups --projector {name}"
        )
    if one.incomplete is not None:
        yield Finding(Kind.STOPPED, name, one.incomplete.detail, f"tidemark projections rebuild {name}")


def _letters(found: Snapshot) -> Iterator[Finding]:
    for group in found.groups or ():
        since = _duration((found.at - group.since).total_seconds())
        what = f"{group.count:,} dead letters for one cause ({group.reason}), the first {since} ago"
        yield Finding(Kind.HELD, group.origin, what, f"tidemark dead-letters show {group.example}")
    for job in found.jobs or ():
        if job.state in IDLE_JOBS:
            what = f"replay job {job.id} is {job.state}{f': {job.why}' if job.why else ''}"
            yield Finding(Kind.STOPPED, "dead_letters", what, f"tidemark dead-letters jobs resume {job.id}")


def _outbox(found: Snapshot) -> Iterator[Finding]:
    if found.outbox is not None and found.outbox.oldest_s > OUTBOX_S:
        what = f"{found.outbox.pending:,} events wait in the outbox, the oldest for {_duration(found.outbox.oldest_s)}"
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
    if one.failed:
        what = f"{one.failed:,} processes have failed, and wait for a retry"
        yield Finding(Kind.HELD, one.name, what, f"tidemark processes list --name {one.name} --state failed")
    if one.timers_overdue:
        what = f"{one.timers_overdue:,} timers are overdue"
        yield Finding(Kind.LATE, one.name, what, "tidemark health processes")
    if one.commands_overdue:
        what = f"{one.commands_overdue:,} commands were sent again and have no outcome yet"
        yield Finding(Kind.LATE, one.name, what, f"tidemark processes list --name {one.name}")


def _duration(seconds: float) -> str:
    """In the largest unit of which there are two."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
