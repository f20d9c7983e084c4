"""Applying events to a store: gate, commit, and where a commit fails find out whose fault it was.

    positions ──gate──▶ plans ──commit──▶ done
                          ▲        ├── StalePositionError: somebody else was faster ──▶ read positions again
                          │        ├── ProjectionError(event): cut that stream's run before it, hold the stream ──┐
                          └────────┼──────────────────────────────────────────────────────────────────────────────┘
                                   ├── StoreUnavailableError: nobody's fault; to the caller, nothing is counted
                                   └── anything else: halve the streams until one is alone, then its run

What the streams' steps come to is published by the caller, after the commit and before the acknowledgement.
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from projectors.decoding import Arrived
from projectors.gating import StreamPlan, gate, hold_after, wants_resend
from projectors.notices import dead_letter, passed_notice, resend_requests, retry_copy
from projectors.projection import (
    Advance,
    Commit,
    Event,
    Hold,
    HoldStatus,
    LaneProgress,
    ProjectionError,
    StalePositionError,
    Store,
    StoreUnavailableError,
)
from projectors.retry import Failure, RetryLater, describe, gap, held_after, verdict
from shared.broker import Outgoing
from shared.contracts.control import PassedEvent
from shared.failpoints import Failpoint, reached

FAILED: Final = "projection-failed"
KILLED: Final = Failure(
    reason="process-killed",
    exception="the process died while this event was being applied",
    fingerprint="process-killed",
    trace="",
)


ONCE_MORE: Final = RetryLater("", timedelta(seconds=1))


@dataclass(slots=True)
class Applied:
    """What came of some events, besides what the store now shows: what is to be published, and what was left for later."""

    outgoing: list[Outgoing] = field(default_factory=list)
    suspects: list[Arrived] = field(default_factory=list)
    """Left untouched: their streams wait for an event that has killed the process before; try each alone, marked."""


@dataclass(slots=True)
class _Stop:
    """Where a stream's step ends, and why."""

    item: Arrived
    failure: Failure
    curable: bool


class Applier:
    """Applies events for one projector, all streams of a call in as few commits as their failures allow."""

    def __init__(
        self,
        projector: str,
        store: Store,
        *,
        tiers: Sequence[tuple[str, int]],
        clock: Callable[[], datetime],
        tell: Callable[[Mapping[str, int], Mapping[str, int]], None] = lambda *_: None,
    ) -> None:
        """``tell`` hears, after each commit, which streams have advanced, and which are held, to and at which version."""
        self._projector = projector
        self._store = store
        self._tell = tell
        self._tiers = tiers
        self._clock = clock

    async def apply(self, arrived: Sequence[Arrived], *, marked: bool = False) -> Applied:
        """Raises StoreUnavailableError, with some streams perhaps applied already: calling again with the same is right.

        ``marked``: these were given to ``mark`` before, so nothing is left for suspicion.
        """
        applied = Applied()
        if arrived:
            await self._apply(arrived, applied, marked=marked)
        return applied

    async def progress(self, as_of: Mapping[int, datetime]) -> None:
        """Lane → time: everything before it is in, or held. To be said only when that is so."""
        await self._store.commit(Commit(progress={lane: LaneProgress(time, 0) for lane, time in as_of.items()}))

    async def compare(self, heads: Mapping[str, int]) -> Applied:
        """Hold every stream that is behind its head, and ask for what it misses. ``heads``: stream → version."""
        positions = await self._store.positions(sorted(heads))
        plans = []
        for stream, version in heads.items():
            position = positions[stream]
            known = position.applied if position.hold is None else max(position.applied, position.hold.seen)
            if version > known:
                plans.append(StreamPlan(stream, position, [], None, version))
        try:
            return await self._step(plans, {}) if plans else Applied()
        except StalePositionError:
            return await self.compare(heads)

    async def step_over(self, stream: str, version: int) -> Applied | None:
        """Advance the stream past an event that holds it; None, and nothing happens, where it does not wait for that event."""
        position = (await self._store.positions([stream]))[stream]
        if position.hold is None or position.hold.version != version or position.hold.status is HoldStatus.GAP:
            return None
        now = self._clock()
        behind = gap(version, position.hold.seen, now) if position.hold.seen > version else None
        commit = Commit(
            advances=[Advance(stream, position.applied, (), skipped=1)],
            holds={stream: behind} if behind is not None else {},
            released=[] if behind is not None else [stream],
        )
        try:
            await self._store.commit(commit)
        except StalePositionError:
            return await self.step_over(stream, version)
        self._tell({stream: version}, {stream: behind.version} if behind is not None else {})
        wanted = [(stream, version + 1)] if behind is not None else []
        return Applied(outgoing=list(resend_requests(self._projector, wanted)))

    async def mark(self, item: Arrived) -> Outgoing | None:
        """Write down, before it is tried, that this event may kill the process; a dead letter once it has done so too often.

        Succeeding takes the note away; dying leaves it, and counts.
        """
        event = item.event
        position = (await self._store.positions([event.stream]))[event.stream]
        if event.version != position.applied + 1 or item.failure is not None:
            return None
        now = self._clock()
        before = position.hold
        known = before is not None and before.version == event.version
        decided = verdict(before.attempts + 1 if before is not None and known else 1, self._tiers)
        if before is not None and known and before.status is HoldStatus.DEAD:
            decided = ONCE_MORE  # an operator has asked for it
        hold = held_after(position, event.version, event.version, KILLED, decided, now)
        with suppress(StalePositionError):
            await self._store.commit(Commit(holds={event.stream: hold}))
        if isinstance(decided, RetryLater):
            return None
        return dead_letter(self._projector, item, hold, KILLED)

    async def _apply(self, arrived: Sequence[Arrived], applied: Applied, *, marked: bool) -> None:
        stops: dict[str, _Stop] = {}
        plans: list[StreamPlan] | None = None
        while True:
            if plans is None:
                positions = await self._store.positions(sorted({item.event.stream for item in arrived}))
                plans = gate(arrived, positions)
                if not marked:
                    plans, arrived = _without_suspects(plans, arrived, applied)
            try:
                step = await self._step(plans, stops)
            except StalePositionError:
                plans = None
                await asyncio.sleep(random.uniform(0, 0.05))  # noqa: S311 - jitter
            except ProjectionError as error:
                stops |= {event.stream: _stop_at(arrived, event, cause) for event, cause in error.failures}
            except StoreUnavailableError:
                raise
            except Exception as error:  # whatever it is, one of these events is at fault
                await self._split(plans, arrived, error, applied, marked=marked)
                return
            else:
                applied.outgoing += step.outgoing
                return

    async def _split(
        self,
        plans: Sequence[StreamPlan],
        arrived: Sequence[Arrived],
        error: Exception,
        applied: Applied,
        *,
        marked: bool,
    ) -> None:
        """The database refused the whole: find the event it refused."""
        streams = sorted(plan.stream for plan in plans)
        if len(streams) > 1:
            first = set(streams[: len(streams) // 2])
            await self._apply([item for item in arrived if item.event.stream in first], applied, marked=marked)
            rest = set(streams) - first
            await self._apply([item for item in arrived if item.event.stream in rest], applied, marked=marked)
            return
        plan = plans[0]
        if len(plan.run) > 1:
            for item in plan.run:
                await self._apply([item], applied, marked=marked)
            beyond = [item for item in arrived if item.event.version > plan.reached]
            if beyond:
                await self._apply(beyond, applied, marked=marked)
            return
        step = await self._step([plan], {plan.stream: _Stop(plan.run[0], describe(error, FAILED), curable=True)})
        applied.outgoing += step.outgoing

    async def _step(self, plans: Sequence[StreamPlan], stops: Mapping[str, _Stop]) -> Applied:
        """One commit. Returns what it applied and what must be published because of it."""
        now = self._clock()
        advances: list[Advance] = []
        holds: dict[str, Hold] = {}
        released: list[str] = []
        step = Applied()
        resends: list[tuple[str, int]] = []
        passed: list[PassedEvent] = []
        per_lane: dict[int, int] = {}
        for plan in plans:
            stop = stops.get(plan.stream) or _unreadable(plan)
            run = [item.event for item in plan.run]
            if stop is not None:
                run = [event for event in run if event.version < stop.item.event.version]
            if run:
                advances.append(Advance(plan.stream, plan.position.applied, run))
                per_lane[run[0].lane] = per_lane.get(run[0].lane, 0) + len(run)
                held = plan.position.hold
                if held is not None and held.status is not HoldStatus.GAP:
                    passed.append(PassedEvent(stream=plan.stream, version=held.version, how="applied"))
            hold = self._stopped(plan, stop, now, step) if stop is not None else hold_after(plan, now)
            if hold is not None:
                holds[plan.stream] = hold
                if stop is None and wants_resend(plan, hold):
                    resends.append((plan.stream, hold.version))
            elif plan.position.hold is not None:
                released.append(plan.stream)
        progress = {lane: LaneProgress(None, count) for lane, count in per_lane.items()}
        if advances or holds:
            await self._store.commit(Commit(advances, holds, released, progress))
            reached(Failpoint.AFTER_HOLD if holds else Failpoint.AFTER_COMMIT)
            self._tell(
                {advance.stream: advance.version for advance in advances},
                {stream: hold.version for stream, hold in holds.items()},
            )
        step.outgoing += resend_requests(self._projector, resends)
        if passed:
            step.outgoing.append(passed_notice(self._projector, passed))
        return step

    def _stopped(self, plan: StreamPlan, stop: _Stop, now: datetime, step: Applied) -> Hold:
        version = stop.item.event.version
        before = plan.position.hold
        attempts = before.attempts + 1 if before is not None and before.version == version else 1
        decided = verdict(attempts, self._tiers, curable=stop.curable)
        hold = held_after(plan.position, version, plan.seen, stop.failure, decided, now)
        if isinstance(decided, RetryLater):
            step.outgoing.append(retry_copy(self._projector, stop.item, decided.tier))
        else:
            step.outgoing.append(dead_letter(self._projector, stop.item, hold, stop.failure))
        return hold


def _without_suspects(
    plans: list[StreamPlan], arrived: Sequence[Arrived], applied: Applied
) -> tuple[list[StreamPlan], Sequence[Arrived]]:
    """Take out of the batch what belongs to streams whose next event has killed the process before."""
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


def _unreadable(plan: StreamPlan) -> _Stop | None:
    if plan.stopper is None or plan.stopper.failure is None:
        return None
    return _Stop(plan.stopper, plan.stopper.failure, curable=False)


def _stop_at(arrived: Sequence[Arrived], event: Event, error: BaseException) -> _Stop:
    item = next(i for i in arrived if i.event.stream == event.stream and i.event.version == event.version)
    return _Stop(item, describe(error, FAILED), curable=True)
