"""Applies events to a store: gate, commit, and if a commit fails find the event that caused it.

    positions ──gate──▶ plans ──step, commit──▶ done
                          ▲        ├── StalePositionError: another writer was faster ──▶ read positions again
                          │        ├── ProjectionError(event): cut that stream's run before it, hold the stream ──┐
                          └────────┼──────────────────────────────────────────────────────────────────────────────┘
                                   ├── StoreUnavailableError: raised to the caller; not counted as an attempt
                                   └── any other error: halve the streams until one is left, then its run

The caller publishes the resulting messages after the commit and before the acknowledgement. A dead hold is written as due until the caller
reports that its dead letter is confirmed (``confirmed``): after a crash in between a resend of the event is requested.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from projectors.generations.roles import Role
from projectors.runtime import measuring
from projectors.runtime.decoding import ArrivedEvent
from projectors.runtime.failure_messages import dead_letter, resend_requests
from projectors.runtime.gating import StreamPlan, gate, is_settled
from projectors.runtime.opening import failure_of_event
from projectors.runtime.retry import (
    Failure,
    RetryLater,
    count_attempts,
    failure_hold,
    gap_hold,
    next_attempt,
)
from projectors.runtime.stepping import FAILED, Policy, Stop, step, stop_at
from projectors.stores.port import (
    Advance,
    Commit,
    Hold,
    HoldStatus,
    LaneProgress,
    ProjectionError,
    StalePositionError,
    Store,
    StoreUnavailableError,
)
from shared.messaging.broker import Outgoing
from shared.observability import tracing
from shared.runtime.failpoints import Failpoint, reached

log: Final = logging.getLogger(__name__)

KILLED: Final = Failure(
    reason="process-killed",
    exception="the process died while this event was being applied",
    fingerprint="process-killed",
    trace="",
)


OPERATOR_RETRY: Final = RetryLater("", timedelta(seconds=1))


@dataclass(slots=True)
class ApplyResult:
    """The result of applying some events, besides the store's changes: messages to publish, and events that were not tried."""

    outgoing: list[Outgoing] = field(default_factory=list)
    letters: dict[str, Hold] = field(default_factory=dict)
    """The dead holds whose letters are among ``outgoing``, by stream: pass them to ``confirmed`` once the broker has confirmed those."""
    suspects: list[ArrivedEvent] = field(default_factory=list)
    """Not tried: their streams wait for an event that has killed the process before. Try each alone, after ``record_attempt``."""

    def add(self, other: "ApplyResult") -> None:
        """Add another result, except its suspects."""
        self.outgoing += other.outgoing
        self.letters |= other.letters


class Applier:
    """Applies events to one generation of a projection, all streams of a call in as few commits as failures allow."""

    def __init__(
        self,
        projector: str,
        store: Store,
        *,
        tiers: Sequence[tuple[str, int]],
        clock: Callable[[], datetime],
        publish_changes: Callable[[Mapping[str, int], Mapping[str, int]], None] = lambda *_: None,
        role: Role = Role.ACTIVE,
    ) -> None:
        """``publish_changes`` is called after each commit with the advanced streams (stream → version applied) and the held ones
        (stream → version they wait for)."""
        self._store = store
        self._publish_changes = publish_changes
        self._clock = clock
        self._policy = Policy(projector, tiers, role)

    @property
    def role(self) -> Role:
        return self._policy.role

    @role.setter
    def role(self, role: Role) -> None:
        self._policy = replace(self._policy, role=role)

    async def apply(
        self, arrived: Sequence[ArrivedEvent], *, recorded: bool = False, letters: Mapping[str, Hold] | None = None
    ) -> ApplyResult:
        """Apply these events. Raises StoreUnavailableError, with some streams perhaps applied already; it is safe to call again.

        ``recorded``: these were passed to ``record_attempt`` before, so none is a suspect. ``letters``: dead holds of earlier calls whose
        letters are not published yet.
        """
        applied = ApplyResult()
        if arrived:
            await self._apply(arrived, applied, recorded=recorded, letters=letters or {})
        return applied

    async def progress(self, as_of: Mapping[int, datetime]) -> None:
        """Advance the lanes' ``as_of``. Lane → time; call it only when every event committed before that time is applied or held."""
        await self._store.commit(Commit(progress={lane: LaneProgress(time, 0) for lane, time in as_of.items()}))

    async def compare(self, heads: Mapping[str, int], *, insist: bool = False) -> ApplyResult:
        """Hold every stream that is behind its head, and request a resend of what it lacks. ``heads``: stream → version.

        ``insist``: also request what existing gaps wait for, although that may have been requested before.
        """
        positions = await self._store.behind(heads)
        now = self._clock()
        holds: dict[str, Hold] = {}
        wanted: list[tuple[str, int]] = []
        for stream, position in positions.items():
            version, applied, hold = heads[stream], position.applied, position.hold
            if hold is None or (insist and hold.status is HoldStatus.GAP):
                holds[stream] = gap_hold(applied, max(version, hold.seen if hold is not None else 0), now)
                wanted.append((stream, applied + 1))
            elif version > hold.seen:
                holds[stream] = replace(hold, seen=version)
        if holds:
            try:
                await self._store.commit(Commit(holds=holds))
            except StalePositionError:
                return await self.compare(heads, insist=insist)
            measuring.count_commit(self._policy.projector, self.role, Commit(holds=holds), now)
            reached(Failpoint.AFTER_HOLD)
            self._publish_changes({}, {stream: hold.version for stream, hold in holds.items()})
        return ApplyResult(outgoing=list(resend_requests(self._policy.projector, wanted)))

    async def step_over(self, stream: str, version: int, *, ahead: bool = False) -> ApplyResult | None:
        """Advance the stream past an event that holds it. None, and nothing changes, if the stream does not wait for that event.

        ``ahead``: if the event has not arrived yet, record that it is discarded; it is stepped over when it is next.
        """
        position = (await self._store.positions([stream]))[stream]
        hold = position.hold
        waits = hold is not None and hold.version == version and (ahead or hold.status is not HoldStatus.GAP)
        if hold is None or not waits:
            if ahead and version > position.applied:
                await self._store.commit(Commit(discarded=[(stream, version)]))
            return None
        now = self._clock()
        behind = gap_hold(version, hold.seen, now) if hold.seen > version else None
        commit = Commit(
            advances=[Advance(stream, position.applied, (), skipped=1)],
            holds={stream: behind} if behind is not None else {},
            released=[] if behind is not None else [stream],
            discarded=[(stream, version)],
        )
        try:
            await self._store.commit(commit)
        except StalePositionError:
            return await self.step_over(stream, version, ahead=ahead)
        self._publish_changes({stream: version}, {stream: behind.version} if behind is not None else {})
        wanted = [(stream, version + 1)] if behind is not None else []
        return ApplyResult(outgoing=list(resend_requests(self._policy.projector, wanted)))

    async def confirmed(self, letters: Mapping[str, Hold]) -> None:
        """Record that the letters of these holds are confirmed, so that no resend of their events is requested.

        Best effort: if the store is unavailable, a resend is requested and the letter is written once more.
        """
        if letters:
            with suppress(StoreUnavailableError):
                await self._store.commit(Commit(confirmed=letters))

    async def record_attempt(self, item: ArrivedEvent) -> ApplyResult | None:
        """Record, before the event is tried, that it may kill the process. None: try it.

        Success deletes the record; a crash leaves it, and counts as a failed attempt. After too many the event is dead and must not be
        tried: returns its letter.
        """
        event = item.event
        position = (await self._store.positions([event.stream]))[event.stream]
        if event.version != position.applied + 1 or item.failure is not None or event.version in position.discarded:
            return None
        now = self._clock()
        before = position.hold
        if is_settled(item, before):
            return ApplyResult()
        known = before is not None and before.version == event.version
        decision = next_attempt(count_attempts(before, event.version), self._policy.tiers)
        if before is not None and known and before.status is HoldStatus.DEAD:
            decision = OPERATOR_RETRY  # an operator has requested it
        hold = failure_hold(position, event.version, event.version, KILLED, decision, now, role=self.role)
        with suppress(StalePositionError):
            await self._store.commit(Commit(holds={event.stream: hold}))
        if isinstance(decision, RetryLater):
            return None
        if not self.role.is_read:
            return ApplyResult()
        return ApplyResult([dead_letter(self._policy.projector, item, hold, KILLED)], {event.stream: hold})

    async def _apply(
        self, arrived: Sequence[ArrivedEvent], applied: ApplyResult, *, recorded: bool, letters: Mapping[str, Hold]
    ) -> None:
        began_ns = time.time_ns()
        stops: dict[str, Stop] = {}
        plans: list[StreamPlan] | None = None
        while True:
            if plans is None:
                positions = await self._store.positions(sorted({item.event.stream for item in arrived}))
                plans = gate(arrived, positions, letters)
                if not recorded:
                    plans, arrived = _without_suspects(plans, arrived, applied)
            try:
                applied.add(await self._step(plans, stops, began_ns))
            except StalePositionError:
                plans = None
                await asyncio.sleep(random.uniform(0, 0.05))  # noqa: S311 - jitter
            except ProjectionError as error:
                stops |= {event.stream: stop_at(arrived, event, cause) for event, cause in error.failures}
            except StoreUnavailableError:
                raise
            except Exception as error:  # any other error is caused by one of these events
                await self._split(plans, arrived, error, applied, recorded=recorded, letters=letters)
                return
            else:
                return

    async def _split(
        self,
        plans: Sequence[StreamPlan],
        arrived: Sequence[ArrivedEvent],
        error: Exception,
        applied: ApplyResult,
        *,
        recorded: bool,
        letters: Mapping[str, Hold],
    ) -> None:
        """The database rejected the whole commit: find the event that it rejects."""
        again = partial(self._apply, applied=applied, recorded=recorded, letters=letters)
        streams = sorted(plan.stream for plan in plans)
        if len(streams) > 1:
            first = set(streams[: len(streams) // 2])
            await again([item for item in arrived if item.event.stream in first])
            rest = set(streams) - first
            await again([item for item in arrived if item.event.stream in rest])
            return
        plan = plans[0]
        if not plan.run:
            raise error
        if len(plan.run) > 1:
            for item in plan.run:
                await again([item])
            beyond = [item for item in arrived if item.event.version > plan.reached]
            if beyond:
                await again(beyond)
            return
        stop = Stop(plan.run[0], failure_of_event(plan.run[0].event, error, FAILED))
        applied.add(await self._step([plan], {plan.stream: stop}, time.time_ns()))

    async def _step(self, plans: Sequence[StreamPlan], stops: Mapping[str, Stop], began_ns: int) -> ApplyResult:
        """Make one commit. Returns the messages that must be published because of it. ``began_ns``: for traces."""
        taken = step(plans, stops, self._clock(), self._policy)
        if not taken.is_empty:
            commit = taken.commit
            await self._store.commit(commit)
            measuring.count_commit(self._policy.projector, self.role, commit, self._clock())
            if tracing.recorder is not None and self.role.is_read:
                measuring.record_spans(
                    tracing.recorder, self._policy.projector, commit, taken.failed, began_ns, self._clock()
                )
            for stream, hold in taken.letters.items():
                fields = {"projection": self._policy.projector, "stream": stream, "version": hold.version}
                fields |= tracing.log_field(taken.failed[stream].event.traceparent)
                log.warning("a dead letter: %s (%s)", hold.reason, hold.fingerprint, extra=fields)
            reached(Failpoint.AFTER_HOLD if commit.holds else Failpoint.AFTER_COMMIT)
            if not self.role.awaits_history:  # a generation that is being built serves no queries, so none waits for it
                self._publish_changes(
                    {advance.stream: advance.version for advance in commit.advances},
                    {stream: hold.version for stream, hold in commit.holds.items()},
                )
        return ApplyResult(taken.outgoing, taken.letters)


def _without_suspects(
    plans: list[StreamPlan], arrived: Sequence[ArrivedEvent], applied: ApplyResult
) -> tuple[list[StreamPlan], Sequence[ArrivedEvent]]:
    """Remove from the batch the streams whose next event has killed the process before."""
    suspicious = {
        plan.stream
        for plan in plans
        if plan.run and plan.position.hold is not None and plan.position.hold.reason == KILLED.reason
    }
    if not suspicious:
        return plans, arrived
    applied.suspects += [item for item in arrived if item.event.stream in suspicious]
    return (
        [plan for plan in plans if plan.stream not in suspicious],
        [item for item in arrived if item.event.stream not in suspicious],
    )
