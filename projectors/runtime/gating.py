"""Version gating: pure. Given a stream's position and the events that have arrived, determines what to apply next.

v ≤ applied            duplicate: dropped
v = applied + 1 …      the run: all events that follow without a gap and can be decoded
discarded              not a gap: stepped over, whether it has arrived or not
after a gap            recorded in a hold (``seen``), not kept: the event store has it
dead, letter confirmed tried again only if an operator may have requested it; an automatic copy is dropped (``is_settled``)
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from projectors.generations.roles import Role
from projectors.runtime.decoding import ArrivedEvent
from projectors.runtime.retry import HISTORY_AFTER, RESEND_AFTER, gap_hold
from projectors.stores.port import Hold, HoldStatus, Position

_NO_LETTERS: Final[Mapping[str, Hold]] = {}


@dataclass(slots=True)
class StreamPlan:
    """The most that one step may do for a stream. After a failure at ``run[n]`` the run is cut to ``run[:n]``."""

    stream: str
    position: Position
    run: list[ArrivedEvent]
    unreadable: ArrivedEvent | None
    """The event right after the run, if it cannot be decoded."""
    seen: int
    """The highest version known to exist."""
    reached: int
    """The last version of the run, including versions that are stepped over."""

    @property
    def moves(self) -> bool:
        return self.reached > self.position.applied


def gate(
    arrived: Sequence[ArrivedEvent], positions: Mapping[str, Position], letters: Mapping[str, Hold] = _NO_LETTERS
) -> list[StreamPlan]:
    """A plan for each stream that needs a write; a stream with nothing but duplicates has none.

    ``letters``: dead holds, by stream, whose letters the caller publishes before it acknowledges these events.
    """
    by_stream: dict[str, dict[int, ArrivedEvent]] = defaultdict(dict)
    for item in arrived:
        versions = by_stream[item.event.stream]
        if not item.automatic or item.event.version not in versions:
            versions[item.event.version] = item
    plans = (
        _plan(stream, versions, positions.get(stream, Position()), letters.get(stream))
        for stream, versions in by_stream.items()
    )
    return [plan for plan in plans if plan is not None]


def is_settled(item: ArrivedEvent, hold: Hold | None, letter: Hold | None = None) -> bool:
    """Whether the event is dead, its letter confirmed, and this copy automatic: a late retry copy, or a resend that crossed one.

    ``letter``: the hold whose letter is about to be published, if there is one.
    """
    if not item.automatic or hold is None or hold.status is not HoldStatus.DEAD or hold.version != item.event.version:
        return False
    return hold.due_at is None or (
        letter is not None and (letter.version, letter.attempts) == (hold.version, hold.attempts)
    )


def behind(heads: Mapping[str, int], positions: Mapping[str, Position]) -> dict[str, Position]:
    """``Store.behind``, given positions that have been read."""
    return {
        stream: position
        for stream, position in positions.items()
        if position.applied < heads[stream] and not _is_known(position.hold, heads[stream])
    }


def hold_after_run(plan: StreamPlan, now: datetime, role: Role = Role.ACTIVE) -> Hold | None:
    """The hold of a stream whose whole run was applied without a failure: a gap, or none."""
    before = plan.position.hold
    if not plan.moves and before is not None:
        # Nothing could be applied: the hold stays, with the highest version seen.
        return replace(before, seen=max(before.seen, plan.seen))
    if plan.seen > plan.reached:
        after = HISTORY_AFTER if role.awaits_history and not plan.moves else RESEND_AFTER
        return gap_hold(plan.reached, plan.seen, now, after=after)
    return None


def wants_resend(plan: StreamPlan, after: Hold | None, role: Role = Role.ACTIVE) -> bool:
    """Whether a gap is new, or has moved: then a resend of the missing events is requested at once, unless history will bring them."""
    if after is None or after.status is not HoldStatus.GAP:
        return False
    return plan.moves or (plan.position.hold is None and not role.awaits_history)


def _is_known(hold: Hold | None, version: int) -> bool:
    return hold is not None and hold.status is not HoldStatus.GAP and hold.seen >= version


def _plan(
    stream: str, versions: Mapping[int, ArrivedEvent], position: Position, letter: Hold | None
) -> StreamPlan | None:
    run: list[ArrivedEvent] = []
    unreadable: ArrivedEvent | None = None
    reached = position.applied
    while True:
        item = versions.get(reached + 1)
        if reached + 1 not in position.discarded:
            if item is None or is_settled(item, position.hold, letter):
                break
            if item.failure is not None:
                unreadable = item
                break
            run.append(item)
        reached += 1
    highest = max(versions)
    if highest <= position.applied:
        return None
    seen = max(highest, position.hold.seen if position.hold is not None else 0)
    if reached == position.applied and unreadable is None and position.hold is not None and seen <= position.hold.seen:
        return None
    return StreamPlan(stream, position, run, unreadable, seen, reached)
