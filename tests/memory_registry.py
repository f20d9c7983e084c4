"""A registry of generations in memory that does what ``projectors.generations.registry`` says a registry does.

``begun`` and ``dropped`` hear of generations, to make and forget their data.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from projectors.generations import epoch_notes, epochs
from projectors.generations.registry import DEFAULT_GENERATION, AppliedPage
from shared.views.generations import Generation, GenerationState


class MemoryRegistry(epoch_notes.EpochNotes):
    def __init__(
        self,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        begun: Callable[[int, int], None] = lambda *_: None,
        dropped: Callable[[int], None] = lambda *_: None,
    ) -> None:
        """``begun``: the new one, and the active one."""
        self._known = {DEFAULT_GENERATION.number: DEFAULT_GENERATION}
        self._clock = clock
        self._begun = begun
        self._dropped = dropped

    def forget_everything(self) -> None:
        """As when the store is emptied."""
        self._known = {DEFAULT_GENERATION.number: DEFAULT_GENERATION}

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def generations(self) -> Sequence[Generation]:
        return sorted(self._known.values(), key=lambda generation: generation.number)

    async def begin(self, number: int, *, kinds: Sequence[str], rate: float | None, by: str) -> None:
        if number in self._known:
            return
        now = self._clock()
        self._begun(number, next(each.number for each in self._known.values() if each.active))
        self._known[number] = Generation(
            number=number,
            state=GenerationState.BUILDING,
            active=False,
            begun_at=now,
            updated_at=now,
            kinds=tuple(kinds),
            rate=rate,
            begun_by=by,
        ).model_copy(
            update=epochs.epochs_for_new_generation(next(each for each in self._known.values() if each.active))
        )

    async def claim(self, seen: Generation) -> bool:
        at = self._known.get(seen.number)
        return at is not None and at.updated_at == seen.updated_at and self._update(seen.number)

    async def touch(self, number: int) -> None:
        self._update(number)

    async def scanned(self, number: int, page: AppliedPage) -> bool:
        at = self._known.get(number)
        if at is None or at.done or (at.cursor_stream, at.cursor_version) != page.after:
            return False
        return self._update(
            number,
            cursor_stream=page.last[0],
            cursor_version=page.last[1],
            scanned=at.scanned + page.events,
            total=at.total if at.total is not None else page.total,
            done=page.done,
            reads_since=at.reads_since or page.read_at,
        )

    async def settled(self, number: int, lane: int) -> None:
        at = self._known.get(number)
        if at is not None and at.done and lane not in at.settled:
            self._update(number, settled=(*at.settled, lane))

    async def ready(self, number: int) -> None:
        at = self._known.get(number)
        if at is not None and at.done and at.state is GenerationState.BUILDING:
            self._update(number, state=GenerationState.READY, ready_at=self._clock())

    async def activate(self, number: int, *, by: str) -> bool:
        at = self._known.get(number)
        if at is None or at.state is not GenerationState.READY:
            return False
        self._known = {key: each.model_copy(update={"active": False}) for key, each in self._known.items()}
        self._known[number] = at.model_copy(update={"active": True, "activated_at": self._clock(), "activated_by": by})
        return True

    async def note_epochs(self, number: int, change: epoch_notes.Change) -> None:
        if number in self._known:
            self._known[number] = self._known[number].model_copy(update=change(self._known[number]))

    async def note_kinds(self, number: int, before: Sequence[str] | None, kinds: Sequence[str]) -> bool:
        at = self._known.get(number)
        if at is None or at.kinds != (None if before is None else tuple(before)):
            return False
        self._known[number] = at.model_copy(update={"kinds": tuple(kinds)})
        return True

    async def drop(self, number: int) -> None:
        at = self._known.get(number)
        if at is None or not at.active:
            self._known.pop(number, None)
            self._dropped(number)

    def _update(self, number: int, **changes: Any) -> bool:
        at = self._known.get(number)
        if at is not None:
            self._known[number] = at.model_copy(update={"updated_at": self._clock(), **changes})
        return at is not None
