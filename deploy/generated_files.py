"""Writes files that a program makes from a table, and removes those that it no longer makes."""

from collections.abc import Mapping, Sequence
from pathlib import Path


def write(wanted: Mapping[Path, str], folder: Path, owned: Sequence[str]) -> None:
    """Write each file. ``owned``: patterns in the folder; files of these are removed when nothing makes them any more."""
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for pattern in owned:
        for path in folder.glob(pattern):
            if path not in wanted:
                path.unlink()
