"""The projector runtime, the same for every read model: take deliveries, apply them, publish the failures, acknowledge.

    lanes ──▶ decode ──▶ every generation's Applier (store transactions) ──▶ failure messages, confirmed ──▶ acknowledge
                           └── store unavailable: pause with jittered back-off; nothing acknowledged, no attempt counted

After a crash at any point before the acknowledgement the broker delivers again; the versions in the store show what was applied.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from projectors.generations.epoch_watch import EpochWatch
from projectors.generations.epochs import EpochDecision, decide
from projectors.generations.hosting import Generations, HostedGeneration
from projectors.generations.registry import UNIX_EPOCH
from projectors.rebuild.pacing import LivePriority
from projectors.runtime import measuring
from projectors.runtime.control_handler import ControlHandler
from projectors.runtime.decoding import decode
from projectors.runtime.failure_messages import heads_request, rebuilt_generation, resend_requests, undecodable_letter
from projectors.runtime.gaps import GapDetector
from projectors.runtime.measuring import LagMeter
from projectors.runtime.opening import EventOpener
from projectors.runtime.options import Options
from shared.messages.lanes import Heads, Heartbeat
from shared.messaging import topology
from shared.messaging.broker import Outgoing, Publisher
from shared.messaging.consuming import Consumer, Delivery
from shared.runtime.failpoints import Failpoint, reached
from shared.runtime.outage import OutageRetry
from shared.runtime.process import Stopped
from shared.views.generations import incomplete

log: Final = logging.getLogger(__name__)

TAKE_LIMIT: Final = 50
TAKE_BYTES: Final = 2 * 1024 * 1024
"""Limits of what is applied at once: they bound the memory, and the length of a transaction."""
SWEEP_EVERY_S: Final = 1.0
SILENT_AFTER_S: Final = 6.0
OVERDUE_LIMIT: Final = 1000
ISOLATE_MESSAGE_AFTER: Final = 2
"""A message that was delivered this often before may kill the process: it is handled alone."""
ISOLATE_EVENTS_AFTER: Final = 3
"""After one more delivery its events are tried one by one, each recorded before."""


class Projector:
    def __init__(
        self,
        name: str,
        generations: Generations,
        consumer: Consumer,
        publisher: Publisher,
        outages: OutageRetry,
        options: Options,
        *,
        lag: LagMeter,
        live_priority: LivePriority,
        opener: EventOpener | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """``lag`` receives every heartbeat. ``opener``: None: personal data stay sealed. ``clock``: for stored times; waits use the
        event loop's clock."""
        self.name = name
        self._clock = clock
        self._generations = generations
        self._consumer = consumer
        self._publisher = publisher
        self._outages = outages
        self._options = options
        self._lag = lag
        self._live_priority = live_priority
        self._opener = opener
        self._kinds = frozenset(generations.kinds)
        self._lane_of_queue = {topology.lane_queue(name, lane): lane for lane in range(options.lanes)}
        self._epochs = EpochWatch(name, generations, publisher, outages)
        self._control = ControlHandler(name, generations, self._epochs)
        self._gaps = GapDetector()
        self._confirmed_as_of: dict[int, datetime] = {}
        """Lane → the ``as_of`` last read from, or written to, the active generation's store."""
        self._confirmed_for: HostedGeneration | None = None
        self._swept_at = float("-inf")
        self.silent_lanes: str | None = None
        """Reports lanes without any message: neither events nor the relay's heartbeats, which are sent once a second."""

    @property
    def trouble(self) -> str | None:
        """Why it applies nothing, if the cause is not the store."""
        return self._epochs.trouble

    @property
    def incomplete(self) -> str | None:
        """The kinds of stream that the projection reads and its active generation lacks; None: it lacks none."""
        for hosted in self._generations:
            found = incomplete(self.name, self._generations.kinds, hosted.generation.kinds)
            return None if found is None else found.detail
        return None

    async def run(self, stopping: asyncio.Event) -> None:
        with suppress(Stopped):
            await self._outages.until_up(self._generations.open)
            while not stopping.is_set():
                deliveries = await self._consumer.take(TAKE_LIMIT, size=TAKE_BYTES, timeout=0.5)
                events = [delivery for delivery in deliveries if delivery.queue in self._lane_of_queue]
                for group in _groups(events):
                    with self._live_priority.applying_live():
                        await self._handle(group)
                requests = [delivery for delivery in deliveries if delivery.queue not in self._lane_of_queue]
                for requests_at_once in self._control.grouped(requests):
                    await self._handle_control(requests_at_once)
                await self._sweep()

    async def _handle(self, deliveries: Sequence[Delivery]) -> None:
        decoded = decode(deliveries, self._lane_of_queue, kinds=self._kinds)
        arrived = decoded.arrived if self._opener is None else await self._opener.open(decoded.arrived)
        if decoded.arrived:
            self._live_priority.live_arrived(_now())
        await self._epochs.record_epochs(
            topology.epoch_of(each.headers.get(topology.EPOCH_HEADER)) for each in deliveries
        )
        outgoing = [undecodable_letter(self.name, item) for item in decoded.undecodable]
        deadly = deliveries[0].deliveries >= ISOLATE_EVENTS_AFTER
        done = await self._generations.apply(arrived, limit=self._options.batch, one_by_one=deadly)
        outgoing += [message for _, applied in done for message in applied.outgoing]
        for delivery in deliveries:
            self._gaps.note(self._lane_of_queue[delivery.queue], dict(delivery.headers))
        for heads in decoded.heads:
            outgoing += await self._compare(heads)
        for as_of in decoded.as_of.values():
            self._lag.note(as_of, self._clock(), _now())
        if decoded.beats:
            await self._check_as_of()
            await self._progress(decoded.beats)
        await self._publisher.publish_all(outgoing, sleep=self._outages.pause)
        if decoded.arrived:
            reached(Failpoint.BEFORE_ACK)
        await self._consumer.acknowledge(deliveries)
        for hosted, applied in done:
            await hosted.applier.confirmed(applied.letters)

    async def _progress(self, beats: Sequence[Heartbeat]) -> None:
        if not beats:
            return
        for hosted in self._generations.each():
            current = [beat for beat in beats if _applies(hosted, beat.epoch)]
            as_of = self._gaps.trusted({beat.lane: beat.asof for beat in sorted(current, key=lambda beat: beat.asof)})
            if as_of and hosted.is_ready:
                await self._generations.run_step(hosted, partial(hosted.applier.progress, as_of))
            if self._confirmed_for is hosted:
                self._confirmed_as_of |= as_of

    async def _compare(self, heads: Heads) -> list[Outgoing]:
        """Compare the generations with these heads. The lane is trusted only after every missing event is held as a gap and requested."""
        rebuilt = rebuilt_generation(heads.asked)
        if rebuilt is not None:
            return await self._compare_rebuilt(rebuilt, heads)
        outgoing: list[Outgoing] = []
        for hosted in self._generations.each():
            if not hosted.applier.role.awaits_history and _applies(hosted, heads.epoch):
                result = await self._generations.run_step(
                    hosted, partial(hosted.applier.compare, _heads_of(hosted, heads))
                )
                outgoing += result.outgoing if result is not None else []
        if heads.last and _applies(self._generations.active, heads.epoch):
            self._gaps.clear(heads.lane, heads.asked)
        return outgoing

    async def _compare_rebuilt(self, number: int, heads: Heads) -> list[Outgoing]:
        """Compare a generation that has applied all of history: finds live events it missed, also from before this process served it."""
        await self._outages.until_up(self._generations.refresh)
        hosted = self._generations.get(number)
        if hosted is None or hosted.is_ready or not _applies(hosted, heads.epoch):
            return []
        result = await self._generations.run_step(
            hosted, partial(hosted.applier.compare, _heads_of(hosted, heads), insist=True)
        )
        if result is None:
            return []
        if heads.last:
            await self._outages.until_up(lambda: self._generations.registry.settled(number, heads.lane))
            await self._outages.until_up(self._generations.refresh)
        return result.outgoing

    async def _handle_control(self, group: Sequence[Delivery]) -> None:
        outgoing = await self._outages.until_up(lambda: self._control.handle(group))
        await self._publisher.publish_all(outgoing, sleep=self._outages.pause)
        await self._consumer.acknowledge(group)

    async def _sweep(self) -> None:
        """Once a SWEEP_EVERY_S: request overdue events again, and the heads of lanes that are suspect."""
        now = _now()
        if now - self._swept_at < SWEEP_EVERY_S:
            return
        self._swept_at = now
        self.silent_lanes = self._find_silent_lanes()
        measuring.show_lanes(self.name, self._confirmed_as_of, self._clock())
        await self._outages.until_up(self._generations.refresh)
        if await self._epochs.maintain():
            for lane in self._gaps.lanes:
                self._gaps.suspect(lane, all_streams=True)
        for hosted in self._generations.each():
            if hosted.generation.moving_to is None:
                await self._request_overdue(hosted)
        as_of = await self._check_as_of()
        for lane in self._gaps.due_requests(now):
            state = self._gaps.lanes[lane]
            if not state.request_id:
                await self._mark(lane, as_of.get(lane))
            # as_of does not advance while a lane is suspect, so the store's value is from before the suspicion.
            state.request_id, request = heads_request(self.name, lane, None if state.all_streams else as_of.get(lane))
            state.requested_at = now
            await self._publisher.publish_all([request], sleep=self._outages.pause)

    def _find_silent_lanes(self) -> str | None:
        """What ``silent_lanes`` reports. A lane counts only while this process consumes its queue: no other process can have taken it."""
        silent = {queue: self._consumer.silent_s(queue) for queue in self._lane_of_queue}
        names = [queue for queue, seconds in silent.items() if seconds > SILENT_AFTER_S]
        if not names:
            return None
        return (
            f"no message has arrived from {', '.join(names)} for {max(silent.values()):.0f} s, not even a heartbeat: "
            "is the relay running, and RabbitMQ, and is the queue bound? `tidemark migrate` binds it"
        )

    async def _check_as_of(self) -> Mapping[int, datetime | None]:
        """The store's ``as_of``. If it has gone back (the store was emptied, or restored from a backup), the lane becomes suspect.

        Called before each write of ``as_of``, which would hide that the old value is lost.
        """
        active = self._generations.active
        as_of = await self._generations.run_step(active, active.store.as_of) or {}
        if self._confirmed_for is active:
            for lane, confirmed in self._confirmed_as_of.items():
                if (as_of.get(lane) or UNIX_EPOCH) < confirmed:
                    log.warning("%s: the store has gone back in time; comparing lane %d", self.name, lane)
                    self._gaps.suspect(lane)
        self._confirmed_for = active
        self._confirmed_as_of = {lane: time for lane, time in as_of.items() if time is not None}
        return as_of

    async def _mark(self, lane: int, as_of: datetime | None) -> None:
        """Advance the lane's ``as_of`` by a microsecond before heads are compared, so that a store that loses data from then on goes back
        in time, also if an earlier loss has left it nothing that could. (Heads are requested from two minutes before ``as_of``.)"""
        marked = (as_of or UNIX_EPOCH) + timedelta.resolution
        active = self._generations.active
        await self._generations.run_step(active, partial(active.applier.progress, {lane: marked}))
        self._confirmed_as_of[lane] = marked

    async def _request_overdue(self, hosted: HostedGeneration) -> None:
        """Request a resend of overdue events, and of those that died while the generation was not active: they need letters now."""
        now = self._clock()
        found = list(await self._generations.run_step(hosted, partial(hosted.store.overdue, now, OVERDUE_LIMIT)) or ())
        if hosted.generation.active:
            found += (
                await self._generations.run_step(hosted, partial(hosted.store.unreported, now, OVERDUE_LIMIT)) or ()
            )
        wanted = [(stream, applied + 1) for stream, applied in found if hosted.applies(stream)]
        if len(wanted) < len(found):  # held by an earlier version, which read these kinds of stream
            await self._generations.run_step(hosted, partial(hosted.store.release_others, hosted.kinds))
        if wanted:
            log.info("%s requests a resend of %d streams again", self.name, len(wanted))
            await self._publisher.publish_all(list(resend_requests(self.name, wanted)), sleep=self._outages.pause)


def _heads_of(hosted: HostedGeneration, heads: Heads) -> dict[str, int]:
    """The heads of the streams that the generation applies."""
    return {stream: version for stream, version in heads.streams if hosted.applies(stream)}


def _applies(hosted: HostedGeneration, epoch: str | None) -> bool:
    return decide(hosted.generation, epoch) is EpochDecision.APPLY


def _now() -> float:
    return asyncio.get_running_loop().time()


def _groups(deliveries: Sequence[Delivery]) -> list[list[Delivery]]:
    """All together, except messages that were delivered before so often that they may kill the process: each of those alone."""
    usual = [delivery for delivery in deliveries if delivery.deliveries < ISOLATE_MESSAGE_AFTER]
    alone = [[delivery] for delivery in deliveries if delivery.deliveries >= ISOLATE_MESSAGE_AFTER]
    return [usual, *alone] if usual else alone
