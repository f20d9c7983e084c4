"""Output of commands to a terminal. Untrusted text is printed literally.

Markup is not interpreted; control characters, and those that change the writing direction, are printed as escapes, so that no
text can colour, move or overwrite what an operator sees.
"""

import json
import re
import unicodedata
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

DEFAULT_WIDTH: Final = 180
"""Columns of output that is not a terminal."""

_LINES: Final = re.compile(r"\r\n|\n")


def console(*, stderr: bool = False) -> Console:
    made = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    return (
        made
        if made.is_terminal
        else Console(stderr=stderr, highlight=False, markup=False, emoji=False, width=DEFAULT_WIDTH)
    )


def printable(value: object, limit: int = 300, *, lines: bool = False) -> str:
    """Any text, escaped and cut to ``limit`` characters for printing. ``lines``: keep line breaks and tabs."""
    text = "" if value is None else str(value)
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    if lines:
        return "\n".join("\t".join(_escaped(part) for part in line.split("\t")) for line in _LINES.split(cut))
    return _escaped(cut)


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(one if one == " " or _is_safe(one) else one.encode("unicode_escape").decode() for one in text)


def _is_safe(character: str) -> bool:
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def format_time(time: datetime | None) -> str:
    return "" if time is None else time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    print(json.dumps(value, indent=2, default=str))


def table(*columns: str, numeric: Collection[str] = ()) -> Table:
    """An empty table. ``numeric``: the columns that are aligned to the right."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in numeric else "left", overflow="fold")
    return made


def key_value_table(*named: tuple[str, object]) -> Table:
    grid = Table.grid(padding=(0, 2))
    for name, value in named:
        if value is not None and value != "":
            grid.add_row(Text(name, "bold"), Text(printable(value, 2000)))
    return grid


def cells(*values: object) -> list[Text]:
    return [Text(printable(value), overflow="fold") for value in values]
