"""Ports that stay the same from start to start, unless somebody else has them by then: on record in the folder that they belong to."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from deploy.servers import leftovers, ports

FILE: Final = "ports.json"


class KeptPorts:
    """A port for each of ``names``; whoever binds one must be ready to lose the race, and ``move``."""

    def __init__(self, folder: Path, *names: str) -> None:
        self._file = folder / FILE
        known = leftovers.read(self._file)
        self._before = {name: int(known[name]) for name in names if isinstance(known.get(name), int)}
        self._now = {name: self._again(name) or ports.free_port() for name in names}
        self._keep()

    def __getitem__(self, name: str) -> int:
        return self._now[name]

    def move(self) -> None:
        """Other ports."""
        self._now = {name: ports.free_port() for name in self._now}
        self._keep()

    @property
    def moved(self) -> Sequence[tuple[str, int, int]]:
        """Those that could not stay: name, the port at the last start, and now."""
        return [(name, port, self._now[name]) for name, port in self._before.items() if port != self._now[name]]

    def _again(self, name: str) -> int | None:
        port = self._before.get(name, 0)
        return port if ports.LOWEST <= port <= ports.HIGHEST and ports.take(port) else None

    def _keep(self) -> None:
        leftovers.write(self._file, **leftovers.read(self._file) | self._now)


def say_moved(what: str, before: int, now: int) -> None:
    """For the person at the terminal, who may have written the port down."""
    sys.stderr.write(f"tidemark: {what}: port {before} is taken, it is {now} from now on\n")
