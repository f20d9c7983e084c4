"""Follows a rebuild in the registry until it is ready. The rebuild does not depend on being followed."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from deploy.cli.screen import console
from deploy.cli.terminal import NEGATIVE, fail
from deploy.compare.stores import StoreUnavailableError, open_store
from shared.runtime.settings import Settings
from shared.views.generations import Generation, GenerationState

POLL_INTERVAL_S: Final = 0.3
PRINT_INTERVAL_S: Final = 10.0
"""How often a line is printed when stderr is not a terminal."""
RATE_WINDOW_S: Final = 5.0
"""The rate shown is measured over this many seconds."""
STALLED_AFTER_S: Final = 15.0
MAX_OUTAGE_S: Final = 60.0
"""The longest that the store may be unavailable meanwhile."""


class RebuildRate:
    """A rebuild's rate and remaining time, from recorded progress. Times are seconds of one clock, whichever it is."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()
        self._changed_at = 0.0

    def record(self, now: float, scanned: int) -> None:
        if not self._samples or self._samples[-1][1] != scanned:
            self._changed_at = now
        self._samples.append((now, scanned))
        while self._samples[-1][0] - self._samples[0][0] > RATE_WINDOW_S:
            self._samples.popleft()

    @property
    def rate(self) -> float | None:
        """Events per second over the last RATE_WINDOW_S; None with fewer than two samples."""
        if len(self._samples) < 2:
            return None
        (began, before), (ended, after) = self._samples[0], self._samples[-1]
        return (after - before) / (ended - began) if ended > began else None

    def remaining_s(self, total: int | None) -> float | None:
        if total is None or not self.rate:
            return None
        return max(0, total - self._samples[-1][1]) / self.rate

    def stalled_s(self) -> float | None:
        """For how many seconds there has been no progress; None up to STALLED_AFTER_S."""
        idle = self._samples[-1][0] - self._changed_at
        return idle if idle > STALLED_AFTER_S else None


async def follow(
    settings: Settings, projection: str, number: int, on_progress: Callable[[Generation], None] = lambda _: None
) -> Generation:
    """The generation when it is ready; progress is shown on stderr and passed to ``on_progress``.

    A store that becomes unavailable meanwhile is retried for MAX_OUTAGE_S; one that is unavailable at the start is an error at once.
    Raises typer.Exit if the generation is dropped, StoreUnavailableError.
    """
    with _progress_display(projection, number) as show:
        deadline = 0.0
        while True:
            try:
                async with open_store(settings, projection) as store:
                    while True:
                        found = [one for one in await store.generations() if one.number == number]
                        if not found:
                            raise fail(f"generation {number} of {projection} is gone: it has been dropped", NEGATIVE)
                        show(found[0])
                        on_progress(found[0])
                        if found[0].state is GenerationState.READY:
                            return found[0]
                        deadline = time.monotonic() + MAX_OUTAGE_S
                        await asyncio.sleep(POLL_INTERVAL_S)
            except StoreUnavailableError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(POLL_INTERVAL_S)


def describe_phase(one: Generation, progress: RebuildRate) -> str:
    """The phase of a rebuild in a few words, with its rate and remaining time."""
    if one.state is GenerationState.READY:
        return "ready"
    if idle := progress.stalled_s():
        return f"nothing has moved for {idle:.0f} s: are the projector and the relay running?"
    if one.done:
        return "all of history is applied; comparing with events that arrived meanwhile"
    left = progress.remaining_s(one.total)
    rate = "" if progress.rate is None else f"{progress.rate:,.0f}/s"
    return ", ".join(part for part in (rate, "" if left is None else f"{left:.0f} s left") if part)


def format_events(one: Generation) -> str:
    return f"{one.scanned:,}" if one.total is None else f"{one.scanned:,} of {one.total:,} events"


class _ProgressDisplay:
    def __init__(self, progress: Progress | None, name: str) -> None:
        self._progress = progress
        self._name = name
        self._rate = RebuildRate()
        self._printed_at = time.monotonic()
        self._task = None if progress is None else progress.add_task(name, total=None, events="", phase="")

    def __call__(self, one: Generation) -> None:
        now = time.monotonic()
        self._rate.record(now, one.scanned)
        how = describe_phase(one, self._rate)
        if self._progress is not None and self._task is not None:
            self._progress.update(
                self._task, total=one.total, completed=one.scanned, events=format_events(one), phase=how, refresh=True
            )
        elif now - self._printed_at > PRINT_INTERVAL_S:
            self._printed_at = now
            console(stderr=True).print(f"{self._name}: {format_events(one)}, {how}")


@contextmanager
def _progress_display(projection: str, number: int) -> Iterator[_ProgressDisplay]:
    name = f"{projection} {number}"
    screen = console(stderr=True)
    if not screen.is_terminal:
        yield _ProgressDisplay(None, name)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[events]}", markup=False),
        TextColumn("{task.fields[phase]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=screen, transient=True) as progress:
        yield _ProgressDisplay(progress, name)
