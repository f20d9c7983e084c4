"""Following a rebuild in the registry until it is ready. It goes on without being followed."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from deploy.cli.screen import console
from deploy.cli.terminal import NO, fail
from deploy.compare.stores import StoreUnavailableError, opened
from shared.runtime.settings import Settings
from shared.views.generations import Generation, GenerationState

EVERY_S: Final = 0.3
SAY_EVERY_S: Final = 10.0
"""How often a line is printed where there is no terminal to draw on."""
OVER_S: Final = 5.0
"""The rate shown is that of the last so many seconds."""
STALLED_S: Final = 15.0
OUTAGE_S: Final = 60.0
"""The longest that the store may be away meanwhile."""


class RebuildRate:
    """How fast a rebuild goes, and how long it still takes, from what was seen of it. Times are seconds of any one clock."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()
        self._moved_at = 0.0

    def note(self, now: float, scanned: int) -> None:
        if not self._seen or self._seen[-1][1] != scanned:
            self._moved_at = now
        self._seen.append((now, scanned))
        while self._seen[-1][0] - self._seen[0][0] > OVER_S:
            self._seen.popleft()

    @property
    def rate(self) -> float | None:
        """Events a second, lately; None while there is too little to say."""
        if len(self._seen) < 2:
            return None
        (began, before), (ended, after) = self._seen[0], self._seen[-1]
        return (after - before) / (ended - began) if ended > began else None

    def left_s(self, total: int | None) -> float | None:
        if total is None or not self.rate:
            return None
        return max(0, total - self._seen[-1][1]) / self.rate

    def stalled_s(self) -> float | None:
        """For how long nothing has moved; None while it is not long."""
        idle = self._seen[-1][0] - self._moved_at
        return idle if idle > STALLED_S else None


async def follow(
    settings: Settings, projection: str, number: int, seen: Callable[[Generation], None] = lambda _: None
) -> Generation:
    """The generation as it is when it is ready; progress is shown on stderr, and told to ``seen``.

    A store that goes away meanwhile has OUTAGE_S to come back; one that is away at the start is an error at once.
    """
    with _shown(projection, number) as show:
        patience = 0.0
        while True:
            try:
                async with opened(settings, projection) as store:
                    while True:
                        found = [one for one in await store.generations() if one.number == number]
                        if not found:
                            raise fail(f"generation {number} of {projection} is gone: it has been dropped", NO)
                        show(found[0])
                        seen(found[0])
                        if found[0].state is GenerationState.READY:
                            return found[0]
                        patience = time.monotonic() + OUTAGE_S
                        await asyncio.sleep(EVERY_S)
            except StoreUnavailableError:
                if time.monotonic() > patience:
                    raise
                await asyncio.sleep(EVERY_S)


def phase(one: Generation, pace: RebuildRate) -> str:
    """What it is at, in a few words."""
    if one.state is GenerationState.READY:
        return "ready"
    if idle := pace.stalled_s():
        return f"nothing has moved for {idle:.0f} s: are the projector and the relay running?"
    if one.done:
        return "all of history is in; comparing with what came meanwhile"
    left = pace.left_s(one.total)
    rate = "" if pace.rate is None else f"{pace.rate:,.0f}/s"
    return ", ".join(part for part in (rate, "" if left is None else f"{left:.0f} s left") if part)


def events(one: Generation) -> str:
    return f"{one.scanned:,}" if one.total is None else f"{one.scanned:,} of {one.total:,} events"


class _Show:
    def __init__(self, progress: Progress | None, name: str) -> None:
        self._progress = progress
        self._name = name
        self._pace = RebuildRate()
        self._said = time.monotonic()
        self._task = None if progress is None else progress.add_task(name, total=None, events="", phase="")

    def __call__(self, one: Generation) -> None:
        now = time.monotonic()
        self._pace.note(now, one.scanned)
        how = phase(one, self._pace)
        if self._progress is not None and self._task is not None:
            self._progress.update(
                self._task, total=one.total, completed=one.scanned, events=events(one), phase=how, refresh=True
            )
        elif now - self._said > SAY_EVERY_S:
            self._said = now
            console(stderr=True).print(f"{self._name}: {events(one)}, {how}")


@contextmanager
def _shown(projection: str, number: int) -> Iterator[_Show]:
    name = f"{projection} {number}"
    screen = console(stderr=True)
    if not screen.is_terminal:
        yield _Show(None, name)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[events]}", markup=False),
        TextColumn("{task.fields[phase]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=screen, transient=True) as progress:
        yield _Show(progress, name)
