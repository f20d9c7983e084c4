"""Progress on stderr: bars on a terminal, a plain line now and then elsewhere. What the report says goes to stdout
alone.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

SAY_EVERY_S: Final = 5.0


class Display:
    """Some named counts and how far each has come."""

    def __init__(self, console: Console, bars: Progress | None) -> None:
        self._console = console
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._done: dict[str, int] = {}
        self._totals: dict[str, int] = {}
        self._said = 0.0

    def say(self, text: str) -> None:
        """One line, at once."""
        self._console.print(text, highlight=False)

    def begin(self, name: str, total: int) -> None:
        self._done[name], self._totals[name] = 0, total
        self._said = time.monotonic()
        if self._bars is not None:
            self._tasks[name] = self._bars.add_task(name, total=total)

    def advance(self, name: str, count: int) -> None:
        self._done[name] += count
        if self._bars is not None:
            self._bars.update(self._tasks[name], advance=count)
        elif self._done[name] == self._totals[name] or time.monotonic() - self._said > SAY_EVERY_S:
            self._said = time.monotonic()
            self.say(f"{name}: {self._done[name]:,} of {self._totals[name]:,}")


@contextmanager
def displaying() -> Iterator[Display]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Display(console, None)
        return
    columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        yield Display(console, bars)
