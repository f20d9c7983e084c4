"""Verifying: every stream is looked at once, whatever is not as it should be again, and only what stays so is a finding.

    streams, a chunk at a time ──▶ each store's positions and rows, one snapshot ──▶ then the event store ──▶ fold, compare
         suspects ──▶ looked at again, a moment later ──▶ equal: cleared · different, ahead, held, stray: a finding
                                                      └──▶ behind: once the store has had its chance, or the patience is over
         streams that a store mentions and the event store does not know ──▶ suspects
         figures ──▶ ``figure_check``

For each projection only the kinds of stream that it reads are verified: rows that older code has left of other kinds are ignored.

A store is read before the event store, so that whatever it has applied can be folded. The system may be live meanwhile.
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
from deploy.verify.event_store import EventStore, Facts, Unreadable
from deploy.verify.figure_check import FigureCheck
from deploy.verify.figures import Figures
from deploy.verify.findings import EVENT_STORE, PROVISIONAL, Finding, Kind, Look, ModelProgress, findings, overdue
from deploy.verify.models import Model, Snapshot
from deploy.verify.operations import Operations
from deploy.verify.spill import Spill
from projectors.stores.port import Advance, Event
from shared.read_models import is_of, named

WORKERS: Final = 3
SUSPECTS_AT_ONCE: Final = 300


@dataclass(frozen=True, slots=True)
class Options:
    content: bool = True
    sample: int | None = None
    """Of so many streams only is the content compared."""
    seed: int = 0
    settle_s: float = 1.0
    """How long to wait between two looks."""
    stalled_s: float = 5.0
    """A projection that has not moved for so long stands still."""
    patience_s: float = 30.0
    """How long what is on its way may take."""


@dataclass(slots=True)
class Tally:
    """How much was looked at."""

    streams: int = 0
    compared: int = 0
    """Streams whose content was."""
    unsettled: int = 0
    """Figures that changed too fast, for too long, to be compared."""
    seconds: float = 0.0


@dataclass(slots=True)
class _Pace:
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
        self._paces: dict[str, _Pace] = {}
        self._checks: list[FigureCheck] = []
        self.tally = Tally()

    async def run(self) -> None:
        """The findings are in the spill. Raises AwayError."""
        began = time.monotonic()
        options = self._options
        if options.content and options.sample is None:
            await self._count_figures()
        for model in self._models:
            await self._keep_pace(model)
        total = await self._event_store.count()
        self._display.begin("streams", total)
        await self._pass(self._event_store.chunks(), content=options.content and options.sample is None, name="streams")
        if options.content and options.sample is not None:
            self._display.begin("sample", min(total, options.sample))
            await self._pass(self._event_store.sample(options.seed, options.sample), content=True, name="sample")
        await self._strangers()
        for check in self._checks:
            self._display.print_line("comparing figures")
            await check.compare()
        for model in self._models:
            if isinstance(model, AnalyticsModel):
                model.figures = None  # from now on only positions are looked at
        await self.settle()
        self.tally.seconds = time.monotonic() - began

    async def settle(self) -> None:
        """Look again at whatever is suspect until it is known to be right or wrong."""
        deadline = time.monotonic() + self._options.patience_s
        while self._spill.suspect_count():
            await asyncio.sleep(self._options.settle_s)
            over = time.monotonic() > deadline
            for model in self._models:
                await self._again(model, over=over)
        for check in self._checks:
            found, self.tally.unsettled = await check.settle(self._options.patience_s)
            self._spill.add(found)

    def suspect(self, projection: str, streams: Sequence[str]) -> None:
        """Have these looked at again by ``settle``; what was found about them is forgotten."""
        self._spill.forget(projection, streams)
        self._spill.suspect_again(projection, streams)

    async def applied(self, model: Model, streams: Sequence[str]) -> dict[str, int]:
        async with model.looking(streams) as sight:
            return {stream: position.applied for stream, position in sight.positions.items()}

    async def _count_figures(self) -> None:
        for model in self._models:
            if isinstance(model, AnalyticsModel):
                model.figures = Figures(self._spill, model.layout)
                mark = await self._event_store.mark()
                discarded = partial(self._discarded, model)
                self._checks.append(FigureCheck(model, model.figures, self._event_store, discarded, mark))

    async def _discarded(self, model: Model, streams: Sequence[str]) -> dict[str, frozenset[int]]:
        async with model.looking(streams) as sight:
            return await self._stepped_over(model.name, sight, streams)

    async def _pass(self, chunks: AsyncIterator[list[str]], *, content: bool, name: str) -> None:
        waiting: asyncio.Queue[list[str] | None] = asyncio.Queue(WORKERS)

        async def produce() -> None:
            async for chunk in chunks:
                await waiting.put(chunk)
            for _ in range(WORKERS):
                await waiting.put(None)

        async def consume() -> None:
            while (chunk := await waiting.get()) is not None:
                await self._first(chunk, content=content)
                self._display.advance(name, len(chunk))

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(produce())
                for _ in range(WORKERS):
                    group.create_task(consume())
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _first(self, streams: list[str], *, content: bool) -> None:
        async with AsyncExitStack() as stack:
            read = [(model, some) for model in self._models if (some := _read_by(model, streams))]
            sights = [await stack.enter_async_context(model.looking(some)) for model, some in read]
            facts = await self._event_store.read(streams, content=content)
            self._spill.know(facts.versions)
            in_sample = content and self._options.sample is not None
            if not in_sample:
                self.tally.streams += len(facts.versions)
                self._spill.add(Finding(EVENT_STORE, Kind.DIFFERENT, name, hole) for name, hole in facts.holes.items())
            if content:
                self.tally.compared += len(facts.versions)
            for (model, some), sight in zip(read, sights, strict=True):
                looks = await self._looks(model, sight, some, facts, content=content)
                self._spill.suspect(model.name, (look for look in looks if findings(model.name, look)))
                if not in_sample:
                    await self._note_discards(model.name, looks)

    async def _looks(
        self, model: Model, sight: Snapshot, streams: Sequence[str], facts: Facts, *, content: bool
    ) -> list[Look]:
        over = await self._stepped_over(model.name, sight, streams)
        problems = {}
        if content:
            advances: list[Advance] = []
            broken: dict[str, str] = {}
            for stream in streams:
                self._expect(stream, sight, over, facts, advances, broken)
            versions = {stream: facts.versions[stream] for stream in streams if stream in facts.versions}
            problems = await sight.problems(advances, broken, versions)
        return [
            Look(
                stream,
                facts.versions.get(stream, 0),
                sight.positions[stream],
                None if stream in facts.pending else facts.at,
                frozenset(v for v in over.get(stream, ()) if v <= sight.positions[stream].applied),
                problems.get(stream, ()),
            )
            for stream in streams
        ]

    def _expect(
        self,
        stream: str,
        sight: Snapshot,
        over: dict[str, frozenset[int]],
        facts: Facts,
        advances: list[Advance],
        broken: dict[str, str],
    ) -> None:
        """What of the stream is applied, and can be folded."""
        applied, skipped = sight.positions[stream].applied, over.get(stream, frozenset())
        run: list[Event] = []
        for event in facts.events.get(stream, ()):
            if event.version > applied or event.version in skipped:
                continue
            if isinstance(event, Unreadable):
                broken[stream] = f"version {event.version} is applied, and cannot be read: {event.why}"
                return
            run.append(event)
        if run:
            advances.append(Advance(stream, 0, run))

    async def _stepped_over(
        self, projection: str, sight: Snapshot, streams: Sequence[str]
    ) -> dict[str, frozenset[int]]:
        over = dict(sight.discarded)
        for stream, versions in (await self._operations.discarded(projection, streams)).items():
            over[stream] = over.get(stream, frozenset()) | versions
        return over

    async def _note_discards(self, projection: str, looks: Sequence[Look]) -> None:
        stepped = [(look.stream, version) for look in looks for version in sorted(look.discarded)]
        if not stepped:
            return
        audited = await self._operations.audited(projection, sorted({stream for stream, _ in stepped}))
        self._spill.add(
            Finding(projection, Kind.DISCARDED, stream, {"version": version, "audit": audited.get((stream, version))})
            for stream, version in stepped
        )

    async def _strangers(self) -> None:
        """Suspect whatever a store mentions and the event store did not know when it was read."""
        async for stream in self._event_store.orphans():
            self._spill.add([Finding(EVENT_STORE, Kind.STRAY, stream, {"events": "without a row in streams"})])
        for model in self._models:
            async for mentioned in model.mentioned():
                unknown = self._spill.unknown(_read_by(model, mentioned))
                strangers = set(unknown) - (await self._event_store.known(unknown) if unknown else set())
                self._spill.suspect_again(model.name, sorted(strangers))
            if isinstance(model, AnalyticsModel):
                await self._due_in_vain(model)

    async def _due_in_vain(self, model: AnalyticsModel) -> None:
        """What a projection does to a hold and to its time is one script: one look is enough."""
        key = model.layout.due
        async for pairs in model.due_in_vain():
            self._spill.forget(model.name, (f"{key} {stream}" for stream, _ in pairs))
            self._spill.add(
                Finding(model.name, Kind.STRAY, f"{key} {stream}", {"key": key, "member": stream, "found": at})
                for stream, at in pairs
            )

    async def _again(self, model: Model, *, over: bool) -> None:
        progress = await model.progress()
        stalled = await self._keep_pace(model, progress)
        for before in self._spill.suspects(model.name, SUSPECTS_AT_ONCE):
            streams = list(before)
            async with model.looking(streams) as sight:
                facts = await self._event_store.read(streams, content=self._options.content)
                looks = await self._looks(model, sight, streams, facts, content=self._options.content)
            await self._judge(model.name, before, looks, progress, stalled=stalled, over=over)

    async def _judge(
        self,
        name: str,
        before: dict[str, Look],
        looks: Sequence[Look],
        progress: ModelProgress,
        *,
        stalled: bool,
        over: bool,
    ) -> None:
        confirmed: list[Finding] = []
        cleared: list[str] = []
        waiting: list[Look] = []
        for look in looks:
            found = findings(name, look)
            if not found:
                cleared.append(look.stream)
                continue
            since = before[look.stream]
            provisional = all(one.kind in PROVISIONAL for one in found)
            if not provisional or over or overdue(since, look, progress, stalled=stalled):
                confirmed += found
                cleared.append(look.stream)
            else:
                moved = look.position.applied != since.position.applied
                waiting.append(look if moved or since.drained_at is None else since)
        self._spill.suspect(name, waiting)
        self._spill.clear(name, cleared)
        self._spill.add(await self._told_more(name, confirmed))

    async def _told_more(self, name: str, found: list[Finding]) -> list[Finding]:
        """Held streams with the letters that hold them."""
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

    async def _keep_pace(self, model: Model, progress: ModelProgress | None = None) -> bool:
        """Whether the projection has stood still for too long."""
        now = progress or await model.progress()
        pace = self._paces.get(model.name)
        if pace is None or pace.progress != now:
            self._paces[model.name] = _Pace(now)
            return False
        return time.monotonic() - pace.since >= self._options.stalled_s


def _read_by(model: Model, streams: Sequence[str]) -> list[str]:
    kinds = named(model.name).kinds
    return [stream for stream in streams if is_of(kinds, stream)]
