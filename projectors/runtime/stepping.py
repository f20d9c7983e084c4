"""One step of some streams: pure. Given their plans and where they must stop, makes a commit and the messages to publish after it.

    plans, stops ──step──▶ Commit: advances, holds, released
                      └──▶ outgoing: retry copies and dead letters, resend requests, passed events

The failures of a generation that is not read are not published: its holds become due, and resends bring the events again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from projectors.generations.roles import Role
from projectors.runtime.decoding import UNKNOWN, ArrivedEvent
from projectors.runtime.failure_messages import dead_letter, passed_message, resend_requests, retry_copy
from projectors.runtime.gating import StreamPlan, hold_after_run, wants_resend
from projectors.runtime.opening import failure_of_event
from projectors.runtime.retry import (
    KEY_MISSING,
    LETTER_EVERY,
    Failure,
    Remedy,
    RetryLater,
    count_attempts,
    failure_hold,
    next_attempt,
)
from projectors.stores.port import Advance, Commit, Event, Hold, HoldStatus, LaneProgress
from shared.messages.control import PassedEvent
from shared.messaging.broker import Outgoing

FAILED: Final = "projection-failed"


@dataclass(frozen=True, slots=True)
class Policy:
    """The projector, and how its failures are handled."""

    projector: str
    tiers: Sequence[tuple[str, int]]
    role: Role = Role.ACTIVE


@dataclass(slots=True)
class Stop:
    """The event at which a stream's step ends, and why."""

    item: ArrivedEvent
    failure: Failure
    remedy: Remedy = Remedy.TIME


@dataclass(slots=True)
class Step:
    commit: Commit
    outgoing: list[Outgoing] = field(default_factory=list)
    """To be published after the commit."""
    letters: dict[str, Hold] = field(default_factory=dict)
    """The holds whose dead letters are among ``outgoing``, by stream."""
    failed: dict[str, ArrivedEvent] = field(default_factory=dict)
    """The events at which streams are held because they failed, by stream."""

    @property
    def is_empty(self) -> bool:
        return not (self.commit.advances or self.commit.holds)


def step(plans: Sequence[StreamPlan], stops: Mapping[str, Stop], now: datetime, policy: Policy) -> Step:
    advances: list[Advance] = []
    holds: dict[str, Hold] = {}
    released: list[str] = []
    outgoing: list[Outgoing] = []
    letters: dict[str, Hold] = {}
    resends: list[tuple[str, int]] = []
    passed: list[PassedEvent] = []
    failed: dict[str, ArrivedEvent] = {}
    per_lane: dict[int, int] = {}
    for plan in plans:
        stop = stops.get(plan.stream) or _stop_at_unreadable(plan)
        advance = _advance(plan, stop)
        if advance is not None:
            advances.append(advance)
            if advance.events:
                lane = advance.events[0].lane
                per_lane[lane] = per_lane.get(lane, 0) + len(advance.events)
            held = plan.position.hold
            if held is not None and held.status is not HoldStatus.GAP:
                how = "discarded" if held.version in plan.position.discarded else "applied"
                passed.append(PassedEvent(stream=plan.stream, version=held.version, how=how))
        if stop is not None:
            hold, copies = hold_failed(plan, stop, now, policy)
            holds[plan.stream] = hold
            failed[plan.stream] = stop.item
            outgoing += copies
            if hold.status is HoldStatus.DEAD and copies:
                letters[plan.stream] = hold
        elif (after := hold_after_run(plan, now, policy.role)) is not None:
            holds[plan.stream] = after
            if wants_resend(plan, after, policy.role):
                resends.append((plan.stream, after.version))
        elif plan.position.hold is not None:
            released.append(plan.stream)
    progress = {lane: LaneProgress(None, count) for lane, count in per_lane.items()}
    outgoing += resend_requests(policy.projector, resends)
    if passed and policy.role.is_read:
        outgoing.append(passed_message(policy.projector, passed))
    return Step(Commit(advances, holds, released, progress), outgoing, letters, failed)


def hold_failed(plan: StreamPlan, stop: Stop, now: datetime, policy: Policy) -> tuple[Hold, list[Outgoing]]:
    """The hold of a stream that stops here, with its retry copy or dead letter if it has one."""
    version = stop.item.event.version
    decision = next_attempt(count_attempts(plan.position.hold, version), policy.tiers, stop.remedy)
    hold = failure_hold(plan.position, version, plan.seen, stop.failure, decision, now, role=policy.role)
    if not policy.role.is_read:
        return hold, []
    if isinstance(decision, RetryLater) and decision.tier is not None:
        return hold, [retry_copy(policy.projector, stop.item, decision.tier)]
    if isinstance(decision, RetryLater) and not _is_overdue(hold, stop.item):
        return hold, []
    return hold, [dead_letter(policy.projector, stop.item, hold, stop.failure)]


def stop_at(arrived: Sequence[ArrivedEvent], event: Event, error: BaseException) -> Stop:
    item = next(i for i in arrived if i.event.stream == event.stream and i.event.version == event.version)
    return Stop(item, failure_of_event(event, error, FAILED))


def _advance(plan: StreamPlan, stop: Stop | None) -> Advance | None:
    applied = plan.position.applied
    reached, run = plan.reached, [item.event for item in plan.run]
    if stop is not None:
        reached = min(reached, stop.item.event.version - 1)
        run = [event for event in run if event.version <= reached]
    if reached == applied:
        return None
    return Advance(plan.stream, applied, run, skipped=reached - applied - len(run))


def _stop_at_unreadable(plan: StreamPlan) -> Stop | None:
    if plan.unreadable is None or plan.unreadable.failure is None:
        return None
    failure = plan.unreadable.failure
    return Stop(
        plan.unreadable, failure, Remedy.DEPLOYMENT if failure.reason in (UNKNOWN, KEY_MISSING) else Remedy.NOTHING
    )


def _is_overdue(hold: Hold, item: ArrivedEvent) -> bool:
    """Whether an event that waits for newer code gets a letter now: after LETTER_EVERY attempts, or after an operator's retry."""
    return hold.attempts % LETTER_EVERY == 0 or (hold.attempts > 1 and not item.automatic)
