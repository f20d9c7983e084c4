"""Applying events to a store: gate, commit, and where a commit fails find out whose fault it was.

    positions ──gate──▶ plans ──step, commit──▶ done
                          ▲        ├── StalePositionError: somebody else was faster ──▶ read positions again
                          │        ├── ProjectionError(event): cut that stream's run before it, hold the stream ──┐
                          └────────┼──────────────────────────────────────────────────────────────────────────────┘
                                   ├── StoreUnavailableError: nobody's fault; to the caller, nothing is counted
                                   └── anything else: halve the streams until one is alone, then its run

What the streams' steps come to is published by the caller, after the commit and before the acknowledgement. A dead hold is written as due
until the caller says that its letter is confirmed (``confirmed``): after a crash in between the event is asked for again.
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from projectors.generations.roles import Role
from projectors.runtime.decoding import Arrived
from projectors.runtime.failure_messages import dead_letter, resend_requests
from projectors.runtime.gating import StreamPlan, gate, is_settled
from projectors.runtime.retry import Failure, RetryLater, describe, gap, held_after, next_attempt
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
from shared.runtime.failpoints import Failpoint, reached

KILLED: Final = Failure(
    reason="process-killed",
    exception="the process died while this event was being applied",
    fingerprint="process-killed",
    trace="",
)


OPERATOR_RETRY: Final = RetryLater("", timedelta(seconds=1))


@dataclass(slots=True)
class Applied:
    """What came of some events, besides what the store now shows: what is to be published, and what was left for later."""

    outgoing: list[Outgoing] = field(default_factory=list)
    letters: dict[str, Hold] = field(default_factory=dict)
    """The dead holds whose letters are among ``outgoing``, by stream: to be ``confirmed`` of once those are confirmed."""
    suspects: list[Arrived] = field(default_factory=list)
    """Left untouched: their streams wait for an event that has killed the process before; try each alone, marked."""

    def add(self, other: "Applied") -> None:
        """What has come of some more, but for their suspects."""
        self.outgoing += other.outgoing
        self.letters |= other.letters


class Applier:
    """Applies events to one generation of a projection, all streams of a call in as few commits as their failures allow."""

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
        """``publish_changes`` hears, after each commit, which streams have advanced, and which are held, to and at which version."""
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
        self, arrived: Sequence[Arrived], *, marked: bool = False, letters: Mapping[str, Hold] | None = None
    ) -> Applied:
        """Raises StoreUnavailableError, with some streams perhaps applied already: calling again with the same is right.

        ``marked``: these were given to ``mark`` before, so nothing is left for suspicion. ``letters``: of what was applied before, not
        published yet.
        """
        applied = Applied()
        if arrived:
            await self._apply(arrived, applied, marked=marked, letters=letters or {})
        return applied

    async def progress(self, as_of: Mapping[int, datetime]) -> None:
        """Lane → time: everything before it is in, or held. To be said only when that is so."""
        await self._store.commit(Commit(progress={lane: LaneProgress(time, 0) for lane, time in as_of.items()}))

    async def compare(self, heads: Mapping[str, int], *, insist: bool = False) -> Applied:
        """Hold every stream that is behind its head, and ask for what it misses. ``heads``: stream → version.

        ``insist``: ask for what gaps wait for too, although that may have been asked for before.
        """
        positions = await self._store.behind(heads)
        now = self._clock()
        holds: dict[str, Hold] = {}
        wanted: list[tuple[str, int]] = []
        for stream, position in positions.items():
            version, applied, hold = heads[stream], position.applied, position.hold
            if hold is None or (insist and hold.status is HoldStatus.GAP):
                holds[stream] = gap(applied, max(version, hold.seen if hold is not None else 0), now)
                wanted.append((stream, applied + 1))
            elif version > hold.seen:
                holds[stream] = replace(hold, seen=version)
        if holds:
            try:
                await self._store.commit(Commit(holds=holds))
            except StalePositionError:
                return await self.compare(heads, insist=insist)
            reached(Failpoint.AFTER_HOLD)
            self._publish_changes({}, {stream: hold.version for stream, hold in holds.items()})
        return Applied(outgoing=list(resend_requests(self._policy.projector, wanted)))

    async def step_over(self, stream: str, version: int, *, ahead: bool = False) -> Applied | None:
        """Advance the stream past an event that holds it; None, and nothing happens, where it does not wait for that event.

        ``ahead``: where the event is still to come, it is noted, and stepped over when it is its turn.
        """
        position = (await self._store.positions([stream]))[stream]
        hold = position.hold
        waits = hold is not None and hold.version == version and (ahead or hold.status is not HoldStatus.GAP)
        if hold is None or not waits:
            if ahead and version > position.applied:
                await self._store.commit(Commit(discarded=[(stream, version)]))
            return None
        now = self._clock()
        behind = gap(version, hold.seen, now) if hold.seen > version else None
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
        return Applied(outgoing=list(resend_requests(self._policy.projector, wanted)))

    async def confirmed(self, letters: Mapping[str, Hold]) -> None:
        """The letters of these holds are confirmed, so their events are not asked for again.

        Nothing waits for it: where the store is away they are, and the letter is written once more.
        """
        if letters:
            with suppress(StoreUnavailableError):
                await self._store.commit(Commit(confirmed=letters))

    async def mark(self, item: Arrived) -> Applied | None:
        """Write down, before it is tried, that this event may kill the process. None: try it.

        Once it has done so too often it is dead, and not to be tried: the letter of it. Succeeding takes the note away; dying leaves it,
        and counts.
        """
        event = item.event
        position = (await self._store.positions([event.stream]))[event.stream]
        if event.version != position.applied + 1 or item.failure is not None or event.version in position.discarded:
            return None
        now = self._clock()
        before = position.hold
        if is_settled(item, before):
            return Applied()
        known = before is not None and before.version == event.version
        decision = next_attempt(before.attempts + 1 if before is not None and known else 1, self._policy.tiers)
        if before is not None and known and before.status is HoldStatus.DEAD:
            decision = OPERATOR_RETRY  # an operator has asked for it
        hold = held_after(position, event.version, event.version, KILLED, decision, now, role=self.role)
        with suppress(StalePositionError):
            await self._store.commit(Commit(holds={event.stream: hold}))
        if isinstance(decision, RetryLater):
            return None
        if not self.role.is_read:
            return Applied()
        return Applied([dead_letter(self._policy.projector, item, hold, KILLED)], {event.stream: hold})

    async def _apply(
        self, arrived: Sequence[Arrived], applied: Applied, *, marked: bool, letters: Mapping[str, Hold]
    ) -> None:
        stops: dict[str, Stop] = {}
        plans: list[StreamPlan] | None = None
        while True:
            if plans is None:
                positions = await self._store.positions(sorted({item.event.stream for item in arrived}))
                plans = gate(arrived, positions, letters)
                if not marked:
                    plans, arrived = _without_suspects(plans, arrived, applied)
            try:
                applied.add(await self._step(plans, stops))
            except StalePositionError:
                plans = None
                await asyncio.sleep(random.uniform(0, 0.05))  # noqa: S311 - jitter
            except ProjectionError as error:
                stops |= {event.stream: stop_at(arrived, event, cause) for event, cause in error.failures}
            except StoreUnavailableError:
                raise
            except Exception as error:  # whatever it is, one of these events is at fault
                await self._split(plans, arrived, error, applied, marked=marked, letters=letters)
                return
            else:
                return

    async def _split(
        self,
        plans: Sequence[StreamPlan],
        arrived: Sequence[Arrived],
        error: Exception,
        applied: Applied,
        *,
        marked: bool,
        letters: Mapping[str, Hold],
    ) -> None:
        """The database refused the whole: find the event it refused."""
        again = partial(self._apply, applied=applied, marked=marked, letters=letters)
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
        stop = Stop(plan.run[0], describe(error, FAILED))
        applied.add(await self._step([plan], {plan.stream: stop}))

    async def _step(self, plans: Sequence[StreamPlan], stops: Mapping[str, Stop]) -> Applied:
        """One commit. Returns what must be published because of it."""
        taken = step(plans, stops, self._clock(), self._policy)
        if not taken.is_empty:
            commit = taken.commit
            await self._store.commit(commit)
            reached(Failpoint.AFTER_HOLD if commit.holds else Failpoint.AFTER_COMMIT)
            if not self.role.awaits_history:  # nobody reads it, so nobody waits for it
                self._publish_changes(
                    {advance.stream: advance.version for advance in commit.advances},
                    {stream: hold.version for stream, hold in commit.holds.items()},
                )
        return Applied(taken.outgoing, taken.letters)


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
