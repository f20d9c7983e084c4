"""Holding the figures of a store that goes on meanwhile against what the events say, so that no difference is an artefact of timing.

    every key ──loaded, compared──▶ doubtful cells ──looked at exactly──▶ equal at that moment: fine
                                          ▲                    ├──▶ unequal, twice: a finding
                                          └────────────────────┴── something may have been applied that we do not know: again

An exact look takes, in one transaction of Redis, the cells at hand and the positions of all streams that may be moving; then counts
what those streams had come to. The streams that may be moving are those with more events in the event store than are counted. A stream
that has changed after the last question is found out right after the look: if it has been applied by then, the cells that its events
touch are not judged in this look.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from deploy.verify.analytics import PORTION, AnalyticsModel
from deploy.verify.event_store import EventStore
from deploy.verify.figures import Cell, Figures
from deploy.verify.findings import Finding, Kind
from deploy.verify.models import folded
from projectors.models.analytics.projection import Effects, fold
from projectors.stores.port import Advance, Event
from shared.read_models import is_of, named

AT_ONCE: Final = 500
MOST_MOVING: Final = 5000
"""Positions that are read together with the cells; where more streams are behind, only a store that stands still can be judged."""
PAUSE_S: Final = 0.3
CERTAIN: Final = 2

Discarded = Callable[[Sequence[str]], Awaitable[Mapping[str, frozenset[int]]]]


class FigureCheck:
    def __init__(
        self, model: AnalyticsModel, figures: Figures, event_store: EventStore, discarded: Discarded, mark: datetime
    ) -> None:
        """``mark``: from before the first stream was counted."""
        self._model = model
        self._figures = figures
        self._event_store = event_store
        self._discarded = discarded
        self._mark = mark

    async def compare(self) -> None:
        """Load and compare every key; what is not equal is doubtful."""
        await asyncio.to_thread(self._figures.finish)
        left = set(self._figures.keys())
        async for keys in self._model.keys():
            for key, kind in keys:
                if not self._model.is_figure(key):
                    continue
                if self._figures.sort(key) is None or kind != self._model.type_of(key):
                    self._figures.doubt([(key, "")])
                elif key in left:
                    async for pairs in self._model.scan(key, kind):
                        self._figures.load([(member, self._model.value(key, raw)) for member, raw in pairs])
                    self._figures.doubt((key, member) for member in self._figures.compare(key))
                left.discard(key)
        for key in left:
            self._figures.doubt((key, member) for member in self._figures.compare(key))

    async def settle(self, seconds: float) -> tuple[list[Finding], int]:
        """What is certainly not as it should be; and how many figures moved too fast, for so long, to be judged."""
        deadline = time.monotonic() + seconds
        findings: list[Finding] = []
        while self._figures.doubtful_count():
            await self.catch_up()
            for cells in self._figures.doubtful(AT_ONCE):
                findings += await self._look(cells)
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(PAUSE_S)
        return findings, self._figures.doubtful_count()

    async def catch_up(self) -> None:
        """Count what streams have had since they were counted."""
        await self._ask_for_changes()
        after = ""
        while moving := self._figures.moving(PORTION, after):
            positions = await self._model.positions(list(moving))
            await self._count({stream: at for stream, at in positions.items() if at > moving[stream]})
            after = max(moving)

    async def _look(self, cells: Mapping[Cell, int]) -> list[Finding]:
        await self._ask_for_changes()
        moving = self._figures.moving(MOST_MOVING + 1)
        if len(moving) > MOST_MOVING:
            moving = {}
            before = (await self._model.at_once([], [])).events
            await self.catch_up()
            moment = await self._model.at_once([], list(cells))
            if moment.events != before:
                return []
        else:
            moment = await self._model.at_once(list(moving), list(cells))
        late = [stream for stream in await self._ask_for_changes() if stream not in moving]
        now = await self._model.positions(late)
        unsure = {stream: at for stream, at in now.items() if at > self._figures.applied(stream)}
        await self._count({stream: at for stream, at in moment.positions.items() if at > moving[stream]})
        touched = self._figures.touched(await self._effects(unsure)) if unsure else frozenset()
        found = []
        for cell, unequal in cells.items():
            if cell in touched:
                continue
            if self._equal(cell, moment):
                self._figures.trust(cell)
            elif unequal + 1 < CERTAIN:
                self._figures.unequal_again(cell)
            else:
                self._figures.trust(cell)  # it has been judged
                found.append(self._finding(cell, moment.values[cell]))
        return found

    def _equal(self, cell: Cell, moment: Any) -> bool:
        key, member = cell
        value = moment.values[cell]
        if member:
            return self._figures.equal(cell, value)
        # Of the key as a whole: nothing, or what belongs there.
        return value is None or (self._figures.sort(key) is not None and value == self._model.type_of(key))

    def _finding(self, cell: Cell, value: Any) -> Finding:
        key, member = cell
        if not member:
            known = self._figures.sort(key) is not None
            detail = {"key": key, "type": value} | ({"expected": self._model.type_of(key)} if known else {})
            return Finding(self._model.name, Kind.DIFFERENT if known else Kind.STRAY, key, detail)
        expected = self._figures.expected(cell)
        stray = expected is None and value is not None
        detail = {"key": key, "member": member, "expected": expected, "found": value}
        return Finding(self._model.name, Kind.STRAY if stray else Kind.DIFFERENT, f"{key} {member}", detail)

    async def _ask_for_changes(self) -> list[str]:
        """Streams that have changed since we last asked: from now on it is known that there is more of them."""
        mark = await self._event_store.mark()
        changed = await self._event_store.changed_since(self._mark)
        self._mark = mark
        kinds = named(self._model.name).kinds
        pairs = {
            stream: (self._figures.applied(stream), version)
            for stream, version in changed.items()
            if is_of(kinds, stream)
        }
        self._figures.saw(pairs)
        return [stream for stream, (applied, version) in pairs.items() if version > applied]

    async def _count(self, reached: Mapping[str, int]) -> None:
        """These streams have been applied up to these versions."""
        streams = list(reached)
        for start in range(0, len(streams), PORTION):
            some = {stream: reached[stream] for stream in streams[start : start + PORTION]}
            self._figures.advance(await self._effects(some))
            versions = {stream: (at, max(at, self._figures.version(stream))) for stream, at in some.items()}
            self._figures.saw(versions)

    async def _effects(self, reached: Mapping[str, int]) -> Effects:
        """Of what these streams have had since they were counted."""
        wanted = {stream: (self._figures.applied(stream), at) for stream, at in reached.items()}
        over = await self._discarded(list(wanted))
        advances = []
        for stream, events in (await self._event_store.events_after(wanted)).items():
            skipped = over.get(stream, frozenset())
            sound = [event for event in events if isinstance(event, Event) and event.version not in skipped]
            advances.append(Advance(stream, wanted[stream][0], sound))
        return folded(fold, advances)[0]
