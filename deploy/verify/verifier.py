"""Verifies every stream once, checks those that differ again, and reports only differences that persist.

    streams, a chunk at a time ──▶ each store's positions and rows, one snapshot ──▶ then the event store ──▶ fold, compare
         suspects ──▶ checked again, a moment later ──▶ equal: cleared · different, ahead, held, stray: a finding
                                                    └──▶ behind: a finding once it is overdue, or the time is up
         streams that a store mentions and the event store does not have ──▶ suspects
         figures ──▶ ``figure_check``

For each projection only the kinds of stream that it reads are verified: rows of other kinds, left by older code, are ignored.

A store is read before the event store, so that all events that it has applied can be folded. The system may be live.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from deploy.demo.display import Display
from deploy.verify.analytics import AnalyticsModel
from deploy.verify.event_store import EventStore, EventStoreSnapshot, UnreadableEvent
from deploy.verify.figure_check import FigureCheck
from deploy.verify.figures import Figures
from deploy.verify.findings import (
    EVENT_STORE,
    PROVISIONAL,
    Finding,
    Kind,
    ModelProgress,
    Observation,
    findings,
    overdue,
)
from deploy.verify.laws.law_check import LawCheck
from deploy.verify.models import Model, Snapshot
from deploy.verify.operations import Operations
from deploy.verify.options import Options, Tally
from deploy.verify.spill import Spill
from projectors.stores.port import Advance, Event
from shared.read_models import is_of, named

WORKERS: Final = 3
SUSPECTS_AT_ONCE: Final = 300


@dataclass(slots=True)
class _LastProgress:
    progress: ModelProgress
    since: float = field(default_factory=time.monotonic)


class Verifier:
    def __init__(
        self,
        event_store: EventStore,
        models: Sequence[Model],
        operations: Operations,
        spill: Spill,
        options: Options,
        display: Display,
    ) -> None:
        self._event_store = event_store
        self._models = models
        self._operations = operations
        self._spill = spill
        self._options = options
        self._display = display
        self._last_progress: dict[str, _LastProgress] = {}
        self._checks: list[FigureCheck] = []
        self._laws = LawCheck(spill) if options.content and options.sample is None else None
        self.tally = Tally()

    async def run(self) -> None:
        """The findings are in the spill. Raises ServerUnavailableError."""
        began = time.monotonic()
        options = self._options
        if options.content and options.sample is None:
            await self._count_figures()
        for model in self._models:
            await self._is_stalled(model)
        total = await self._event_store.count()
        self._display.begin("streams", total)
        await self._verify_streams(
            self._event_store.chunks(), content=options.content and options.sample is None, name="streams"
        )
        if options.content and options.sample is not None:
            self._display.begin("sample", min(total, options.sample))
            await self._verify_streams(
                self._event_store.sample(options.seed, options.sample), content=True, name="sample"
            )
        await self._suspect_unknown_streams()
        for check in self._checks:
            self._display.print_line("comparing figures")
            await check.compare()
        for model in self._models:
            if isinstance(model, AnalyticsModel):
                model.figures = None  # from now on only positions are compared
        await self.settle()
        await self._settle_laws()
        self.tally.seconds = time.monotonic() - began

    async def settle(self) -> None:
        """Check all suspects again until each is cleared or confirmed."""
        deadline = time.monotonic() + self._options.max_wait_s
        while self._spill.suspect_count():
            await asyncio.sleep(self._options.recheck_interval_s)
            timed_out = time.monotonic() > deadline
            for model in self._models:
                await self._recheck(model, timed_out=timed_out)
        for check in self._checks:
            found, self.tally.unsettled = await check.settle(self._options.max_wait_s)
            self._spill.add(found)

    async def _settle_laws(self) -> None:
        """Report the laws that are still broken when the time is up: a process may be at work on them."""
        if self._laws is None:
            return
        self._laws.compare()
        deadline = time.monotonic() + self._options.max_wait_s
        await self._laws.recheck(self._event_store)
        while self._laws.broken and time.monotonic() < deadline:
            await asyncio.sleep(self._options.recheck_interval_s)
            await self._laws.recheck(self._event_store)
        self._spill.add(await self._laws.findings(self._event_store))

    def suspect(self, projection: str, streams: Sequence[str]) -> None:
        """Have ``settle`` check these streams again; deletes their findings."""
        self._spill.forget(projection, streams)
        self._spill.suspect_unobserved(projection, streams)

    async def applied(self, model: Model, streams: Sequence[str]) -> dict[str, int]:
        async with model.snapshot(streams) as snapshot:
            return {stream: position.applied for stream, position in snapshot.positions.items()}

    async def _count_figures(self) -> None:
        for model in self._models:
            if isinstance(model, AnalyticsModel):
                model.figures = Figures(self._spill, model.layout)
                mark = await self._event_store.mark()
                discarded = partial(self._read_discarded, model)
                self._checks.append(FigureCheck(model, model.figures, self._event_store, discarded, mark))

    async def _read_discarded(self, model: Model, streams: Sequence[str]) -> dict[str, frozenset[int]]:
        async with model.snapshot(streams) as snapshot:
            return await self._discarded_versions(model.name, snapshot, streams)

    async def _verify_streams(self, chunks: AsyncIterator[list[str]], *, content: bool, name: str) -> None:
        waiting: asyncio.Queue[list[str] | None] = asyncio.Queue(WORKERS)

        async def produce() -> None:
            async for chunk in chunks:
                await waiting.put(chunk)
            for _ in range(WORKERS):
                await waiting.put(None)

        async def consume() -> None:
            while (chunk := await waiting.get()) is not None:
                await self._verify_chunk(chunk, content=content)
                self._display.advance(name, len(chunk))

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(produce())
                for _ in range(WORKERS):
                    group.create_task(consume())
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _verify_chunk(self, streams: list[str], *, content: bool) -> None:
        async with AsyncExitStack() as stack:
            readers = [(model, some) for model in self._models if (some := _read_by(model, streams))]
            snapshots = [await stack.enter_async_context(model.snapshot(some)) for model, some in readers]
            stored = await self._event_store.read(streams, content=content)
            self._spill.add_known(stored.versions)
            in_sample = content and self._options.sample is not None
            if not in_sample:
                self.tally.streams += len(stored.versions)
                self._spill.add(Finding(EVENT_STORE, Kind.DIFFERENT, name, hole) for name, hole in stored.holes.items())
            if content:
                self.tally.compared += len(stored.versions)
                if self._laws is not None:
                    self._laws.add(stored.events)
            for (model, some), snapshot in zip(readers, snapshots, strict=True):
                observations = await self._observe(model, snapshot, some, stored, content=content)
                self._spill.suspect(
                    model.name, (observation for observation in observations if findings(model.name, observation))
                )
                if not in_sample:
                    await self._report_discards(model.name, observations)

    async def _observe(
        self, model: Model, snapshot: Snapshot, streams: Sequence[str], stored: EventStoreSnapshot, *, content: bool
    ) -> list[Observation]:
        discarded = await self._discarded_versions(model.name, snapshot, streams)
        problems = {}
        if content:
            advances: list[Advance] = []
            unreadable: dict[str, str] = {}
            for stream in streams:
                self._add_expected(stream, snapshot, discarded, stored, advances, unreadable)
            versions = {stream: stored.versions[stream] for stream in streams if stream in stored.versions}
            problems = await snapshot.problems(advances, unreadable, versions)
        return [
            Observation(
                stream,
                stored.versions.get(stream, 0),
                snapshot.positions[stream],
                None if stream in stored.pending else stored.at,
                frozenset(v for v in discarded.get(stream, ()) if v <= snapshot.positions[stream].applied),
                problems.get(stream, ()),
            )
            for stream in streams
        ]

    def _add_expected(
        self,
        stream: str,
        snapshot: Snapshot,
        discarded: dict[str, frozenset[int]],
        stored: EventStoreSnapshot,
        advances: list[Advance],
        unreadable: dict[str, str],
    ) -> None:
        """Add the stream's applied events to ``advances``, or the reason why they cannot be read to ``unreadable``."""
        applied, skipped = snapshot.positions[stream].applied, discarded.get(stream, frozenset())
        run: list[Event] = []
        for event in stored.events.get(stream, ()):
            if event.version > applied or event.version in skipped:
                continue
            if isinstance(event, UnreadableEvent):
                unreadable[stream] = f"version {event.version} is applied, and cannot be read: {event.error}"
                return
            run.append(event)
        if run:
            advances.append(Advance(stream, 0, run))

    async def _discarded_versions(
        self, projection: str, snapshot: Snapshot, streams: Sequence[str]
    ) -> dict[str, frozenset[int]]:
        discarded = dict(snapshot.discarded)
        for stream, versions in (await self._operations.discarded(projection, streams)).items():
            discarded[stream] = discarded.get(stream, frozenset()) | versions
        return discarded

    async def _report_discards(self, projection: str, observations: Sequence[Observation]) -> None:
        skipped = [
            (observation.stream, version) for observation in observations for version in sorted(observation.discarded)
        ]
        if not skipped:
            return
        audited = await self._operations.audited(projection, sorted({stream for stream, _ in skipped}))
        self._spill.add(
            Finding(projection, Kind.DISCARDED, stream, {"version": version, "audit": audited.get((stream, version))})
            for stream, version in skipped
        )

    async def _suspect_unknown_streams(self) -> None:
        """Suspect the streams that a store mentions and that the event store did not have when it was read."""
        async for stream in self._event_store.orphans():
            self._spill.add([Finding(EVENT_STORE, Kind.STRAY, stream, {"events": "without a row in streams"})])
        for model in self._models:
            async for streams in model.mentioned_streams():
                unknown = self._spill.unknown(_read_by(model, streams))
                unknown_streams = set(unknown) - (await self._event_store.known(unknown) if unknown else set())
                self._spill.suspect_unobserved(model.name, sorted(unknown_streams))
            if isinstance(model, AnalyticsModel):
                await self._report_due_without_hold(model)

    async def _report_due_without_hold(self, model: AnalyticsModel) -> None:
        """A projection changes a hold and its due time in one script, so one check is enough."""
        key = model.layout.due
        async for pairs in model.due_without_hold():
            self._spill.forget(model.name, (f"{key} {stream}" for stream, _ in pairs))
            self._spill.add(
                Finding(model.name, Kind.STRAY, f"{key} {stream}", {"key": key, "member": stream, "found": at})
                for stream, at in pairs
            )

    async def _recheck(self, model: Model, *, timed_out: bool) -> None:
        progress = await model.progress()
        stalled = await self._is_stalled(model, progress)
        for before in self._spill.suspects(model.name, SUSPECTS_AT_ONCE):
            streams = list(before)
            async with model.snapshot(streams) as snapshot:
                stored = await self._event_store.read(streams, content=self._options.content)
                observations = await self._observe(model, snapshot, streams, stored, content=self._options.content)
            await self._classify(model.name, before, observations, progress, stalled=stalled, timed_out=timed_out)

    async def _classify(
        self,
        name: str,
        before: dict[str, Observation],
        observations: Sequence[Observation],
        progress: ModelProgress,
        *,
        stalled: bool,
        timed_out: bool,
    ) -> None:
        confirmed: list[Finding] = []
        cleared: list[str] = []
        remaining: list[Observation] = []
        for observation in observations:
            found = findings(name, observation)
            if not found:
                cleared.append(observation.stream)
                continue
            first = before[observation.stream]
            provisional = all(one.kind in PROVISIONAL for one in found)
            if not provisional or timed_out or overdue(first, observation, progress, stalled=stalled):
                confirmed += found
                cleared.append(observation.stream)
            else:
                advanced = observation.position.applied != first.position.applied
                remaining.append(observation if advanced or first.drained_at is None else first)
        self._spill.suspect(name, remaining)
        self._spill.clear(name, cleared)
        self._spill.add(await self._with_letters(name, confirmed))

    async def _with_letters(self, name: str, found: list[Finding]) -> list[Finding]:
        """Add to held streams the letters that hold them."""
        held = sorted({one.place for one in found if one.kind is Kind.HELD})
        letters = await self._operations.letters(name, held)
        return [
            Finding(
                name, one.kind, one.place, {**one.detail, "letter": letters.get((one.place, one.detail["held_at"]))}
            )
            if one.kind is Kind.HELD
            else one
            for one in found
        ]

    async def _is_stalled(self, model: Model, progress: ModelProgress | None = None) -> bool:
        """Record the projection's progress; returns whether it has made none for too long."""
        now = progress or await model.progress()
        last = self._last_progress.get(model.name)
        if last is None or last.progress != now:
            self._last_progress[model.name] = _LastProgress(now)
            return False
        return time.monotonic() - last.since >= self._options.stalled_s


def _read_by(model: Model, streams: Sequence[str]) -> list[str]:
    kinds = named(model.name).kinds
    return [stream for stream in streams if is_of(kinds, stream)]
