"""Version gating: pure. Given where a stream stands and which of its events have come, what is next?

v ≤ applied            duplicate: dropped
v = applied + 1 …      the run: everything that follows without a hole, and can be read
after a hole           noted in a hold (``seen``), not kept: the event store has it
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from projectors.decoding import Arrived
from projectors.projection import Hold, HoldStatus, Position
from projectors.retry import gap


@dataclass(slots=True)
class StreamPlan:
    """What one stream's step may be. After a failure at ``run[n]`` the run is cut to ``run[:n]``."""

    stream: str
    position: Position
    run: list[Arrived]
    stopper: Arrived | None
    """The event right after the run, if it is one that cannot be read."""
    seen: int
    """The highest version known to exist."""

    @property
    def reached(self) -> int:
        return self.position.applied + len(self.run)


def gate(arrived: Sequence[Arrived], positions: Mapping[str, Position]) -> list[StreamPlan]:
    """A plan for each stream for which something is to be written; streams of which only duplicates came have none."""
    by_stream: dict[str, dict[int, Arrived]] = defaultdict(dict)
    for item in arrived:
        by_stream[item.event.stream][item.event.version] = item
    plans = (_plan(stream, versions, positions.get(stream, Position())) for stream, versions in by_stream.items())
    return [plan for plan in plans if plan is not None]


def hold_after(plan: StreamPlan, now: datetime) -> Hold | None:
    """The hold of a stream whose run has been applied whole, nothing having failed: a gap, or none."""
    before = plan.position.hold
    if not plan.run and before is not None:
        # Nothing could be applied: what holds the stream stays, and knows of what has come.
        return replace(before, seen=max(before.seen, plan.seen))
    if plan.seen > plan.reached:
        return gap(plan.reached, plan.seen, now)
    return None


def wants_resend(plan: StreamPlan, after: Hold | None) -> bool:
    """Whether a gap is new, or has moved: then the missing events are asked for at once."""
    if after is None or after.status is not HoldStatus.GAP:
        return False
    before = plan.position.hold
    return before is None or bool(plan.run)


def _plan(stream: str, versions: Mapping[int, Arrived], position: Position) -> StreamPlan | None:
    run: list[Arrived] = []
    stopper: Arrived | None = None
    following = position.applied + 1
    while (item := versions.get(following)) is not None:
        if item.failure is not None:
            stopper = item
            break
        run.append(item)
        following += 1
    highest = max(versions)
    if highest <= position.applied:
        return None
    seen = max(highest, position.hold.seen if position.hold is not None else 0)
    if not run and stopper is None and position.hold is not None and seen <= position.hold.seen:
        return None
    return StreamPlan(stream, position, run, stopper, seen)
