"""Compares the figures of a live store with the events, so that no reported difference is an artefact of timing.

    every key ──loaded, compared──▶ doubtful cells ──exact check────────▶ equal at that moment: correct
                                          ▲                    ├──▶ unequal, twice: a finding
                                          └────────────────────┴── events not counted yet may be applied: check again

An exact check reads, in one Redis transaction, a batch of cells and the positions of all streams with uncounted events: those with
more events in the event store than are counted. Then it counts those events up to these positions. Streams that have changed since the
event store was last read are found right after the transaction: if new events of them are applied by then, the cells that these events
touch are not decided in this check.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from deploy.verify.analytics import BATCH_SIZE, AnalyticsModel
from deploy.verify.event_store import EventStore
from deploy.verify.figures import Cell, Figures
from deploy.verify.findings import Finding, Kind
from deploy.verify.models import fold_applicable
from projectors.models.analytics.projection import Effects, fold
from projectors.stores.port import Advance, Event
from shared.read_models import is_of, named
from shared.views.analytics import SALES_INCOMPLETE

CELLS_AT_ONCE: Final = 500
MAX_UNCOUNTED: Final = 5000
"""Maximum number of positions read together with the cells; with more streams behind, only a store that does not change can be checked."""
PAUSE_S: Final = 0.3
REQUIRED_MISMATCHES: Final = 2

Discarded = Callable[[Sequence[str]], Awaitable[Mapping[str, frozenset[int]]]]


class FigureCheck:
    def __init__(
        self, model: AnalyticsModel, figures: Figures, event_store: EventStore, discarded: Discarded, mark: datetime
    ) -> None:
        """``mark``: a mark of the event store from before the first stream was counted."""
        self._model = model
        self._figures = figures
        self._event_store = event_store
        self._read_discarded = discarded
        self._mark = mark
        self._sales_complete = True

    async def compare(self) -> None:
        """Load and compare every key; unequal cells become doubtful."""
        await asyncio.to_thread(self._figures.finish)
        self._sales_complete = await self._model.sales_complete()
        left = {key for key in self._figures.keys() if self._is_compared(key)}  # noqa: SIM118 - a method of its own
        async for keys in self._model.keys():
            for key, kind in keys:
                if not self._is_compared(key):
                    continue
                if self._figures.cell_kind(key) is None or kind != self._model.type_of(key):
                    self._figures.add_doubtful([(key, "")])
                elif key in left:
                    async for pairs in self._model.scan(key, kind):
                        self._figures.load([(member, self._model.value(key, raw)) for member, raw in pairs])
                    self._figures.add_doubtful((key, member) for member in self._figures.compare(key))
                left.discard(key)
        for key in left:
            self._figures.add_doubtful((key, member) for member in self._figures.compare(key))

    async def settle(self, seconds: float) -> tuple[list[Finding], int]:
        """The confirmed differences, and the number of figures that changed too fast, until the deadline, to be decided."""
        deadline = time.monotonic() + seconds
        findings: list[Finding] = []
        if not self._sales_complete:
            detail = {"reason": SALES_INCOMPLETE}
            findings.append(Finding(self._model.name, Kind.MISSING, "sales by region and category", detail))
        while self._figures.doubtful_count():
            await self.catch_up()
            for cells in self._figures.doubtful(CELLS_AT_ONCE):
                findings += await self._check(cells)
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(PAUSE_S)
        return findings, self._figures.doubtful_count()

    async def catch_up(self) -> None:
        """Count the events that streams have applied since they were counted."""
        await self._load_changes()
        after = ""
        while uncounted := self._figures.uncounted(BATCH_SIZE, after):
            positions = await self._model.positions(list(uncounted))
            await self._count({stream: at for stream, at in positions.items() if at > uncounted[stream]})
            after = max(uncounted)

    def _is_compared(self, key: str) -> bool:
        """Figures by region and category that do not include all events are one finding, not thousands."""
        return self._model.is_figure(key) and (self._sales_complete or not self._model.layout.is_sales_by(key))

    async def _check(self, cells: Mapping[Cell, int]) -> list[Finding]:
        await self._load_changes()
        uncounted = self._figures.uncounted(MAX_UNCOUNTED + 1)
        if len(uncounted) > MAX_UNCOUNTED:
            uncounted = {}
            events_before = (await self._model.read_atomically([], [])).events
            await self.catch_up()
            read = await self._model.read_atomically([], list(cells))
            if read.events != events_before:
                return []
        else:
            read = await self._model.read_atomically(list(uncounted), list(cells))
        late = [stream for stream in await self._load_changes() if stream not in uncounted]
        now = await self._model.positions(late)
        maybe_applied = {stream: at for stream, at in now.items() if at > self._figures.applied(stream)}
        await self._count({stream: at for stream, at in read.positions.items() if at > uncounted[stream]})
        touched = self._figures.touched(await self._effects(maybe_applied)) if maybe_applied else frozenset()
        found = []
        for cell, unequal in cells.items():
            if cell in touched:
                continue
            if self._equal(cell, read):
                self._figures.remove_doubtful(cell)
            elif unequal + 1 < REQUIRED_MISMATCHES:
                self._figures.count_unequal(cell)
            else:
                self._figures.remove_doubtful(cell)  # it has been decided
                found.append(self._finding(cell, read.values[cell]))
        return found

    def _equal(self, cell: Cell, read: Any) -> bool:
        key, member = cell
        value = read.values[cell]
        if member:
            return self._figures.equal(cell, value)
        # The key as a whole: missing, or of the expected type.
        return value is None or (self._figures.cell_kind(key) is not None and value == self._model.type_of(key))

    def _finding(self, cell: Cell, value: Any) -> Finding:
        key, member = cell
        if not member:
            known = self._figures.cell_kind(key) is not None
            detail = {"key": key, "type": value} | ({"expected": self._model.type_of(key)} if known else {})
            return Finding(self._model.name, Kind.DIFFERENT if known else Kind.STRAY, key, detail)
        expected = self._figures.expected(cell)
        stray = expected is None and value is not None
        detail = {"key": key, "member": member, "expected": expected, "found": value}
        return Finding(self._model.name, Kind.STRAY if stray else Kind.DIFFERENT, f"{key} {member}", detail)

    async def _load_changes(self) -> list[str]:
        """Streams that have changed since the last call, and have uncounted events; their versions are recorded."""
        mark = await self._event_store.mark()
        changed = await self._event_store.changed_since(self._mark)
        self._mark = mark
        kinds = named(self._model.name).kinds
        pairs = {
            stream: (self._figures.applied(stream), version)
            for stream, version in changed.items()
            if is_of(kinds, stream)
        }
        self._figures.set_positions(pairs)
        return [stream for stream, (applied, version) in pairs.items() if version > applied]

    async def _count(self, reached: Mapping[str, int]) -> None:
        """Count these streams up to these applied versions."""
        streams = list(reached)
        for start in range(0, len(streams), BATCH_SIZE):
            some = {stream: reached[stream] for stream in streams[start : start + BATCH_SIZE]}
            self._figures.advance(await self._effects(some))
            versions = {stream: (at, max(at, self._figures.version(stream))) for stream, at in some.items()}
            self._figures.set_positions(versions)

    async def _effects(self, reached: Mapping[str, int]) -> Effects:
        """The effects of these streams' events from the counted version up to the given one."""
        wanted = {stream: (self._figures.applied(stream), at) for stream, at in reached.items()}
        discarded = await self._read_discarded(list(wanted))
        advances = []
        for stream, events in (await self._event_store.events_after(wanted)).items():
            skipped = discarded.get(stream, frozenset())
            applied = [event for event in events if isinstance(event, Event) and event.version not in skipped]
            advances.append(Advance(stream, wanted[stream][0], applied))
        return fold_applicable(fold, advances)[0]
