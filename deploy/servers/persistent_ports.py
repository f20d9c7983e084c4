"""Ports that stay the same across restarts unless another process has taken them; they are stored in the server's folder."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from deploy.servers import leftovers, ports

FILE: Final = "ports.json"


class PersistentPorts:
    """A port for each of ``names``. Another process may still take one before it is bound; then call ``choose_new_ports``."""

    def __init__(self, folder: Path, *names: str) -> None:
        self._file = folder / FILE
        known = leftovers.read(self._file)
        self._previous = {name: int(known[name]) for name in names if isinstance(known.get(name), int)}
        self._current = {name: self._reuse(name) or ports.free_port() for name in names}
        self._save()

    def __getitem__(self, name: str) -> int:
        return self._current[name]

    def choose_new_ports(self) -> None:
        """Replace all ports with free ones."""
        self._current = {name: ports.free_port() for name in self._current}
        self._save()

    @property
    def changed(self) -> Sequence[tuple[str, int, int]]:
        """The ports that could not be reused: name, port at the last start, port now."""
        return [
            (name, port, self._current[name]) for name, port in self._previous.items() if port != self._current[name]
        ]

    def _reuse(self, name: str) -> int | None:
        port = self._previous.get(name, 0)
        return port if ports.LOWEST <= port <= ports.HIGHEST and ports.reserve(port) else None

    def _save(self) -> None:
        leftovers.write(self._file, **leftovers.read(self._file) | self._current)


def report_changed_port(what: str, before: int, now: int) -> None:
    """Report a changed port on stderr, because the operator may have noted the previous one."""
    sys.stderr.write(f"tidemark: {what}: port {before} is taken, it is {now} from now on\n")
