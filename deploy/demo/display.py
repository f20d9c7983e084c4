"""Progress on stderr: bars on a terminal, otherwise a line every few seconds. Stdout is left to the report."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

PRINT_INTERVAL_S: Final = 5.0


class Display:
    """Shows the progress of named counts."""

    def __init__(self, console: Console, bars: Progress | None) -> None:
        self._console = console
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._done: dict[str, int] = {}
        self._totals: dict[str, int] = {}
        self._printed_at = 0.0

    def print_line(self, text: str) -> None:
        """Print one line immediately."""
        self._console.print(text, highlight=False)

    def begin(self, name: str, total: int) -> None:
        self._done[name], self._totals[name] = 0, total
        self._printed_at = time.monotonic()
        if self._bars is not None:
            self._tasks[name] = self._bars.add_task(name, total=total)

    def advance(self, name: str, count: int) -> None:
        self._done[name] += count
        if self._bars is not None:
            self._bars.update(self._tasks[name], advance=count)
        elif self._done[name] == self._totals[name] or time.monotonic() - self._printed_at > PRINT_INTERVAL_S:
            self._printed_at = time.monotonic()
            self.print_line(f"{name}: {self._done[name]:,} of {self._totals[name]:,}")


@contextmanager
def open_display() -> Iterator[Display]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Display(console, None)
        return
    columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        yield Display(console, bars)
