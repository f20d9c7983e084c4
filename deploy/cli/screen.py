"""A terminal as commands print to it. Text that others wrote is shown, never obeyed.

Markup is printed as it stands; control characters, and those that turn the direction of writing, are printed as escapes, so that no
text can colour, move or rewrite what an operator sees.
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

NOT_A_TERMINAL: Final = 180
"""Columns where nobody's terminal says how many there are."""

_LINES: Final = re.compile(r"\r\n|\n")


def console(*, stderr: bool = False) -> Console:
    made = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    return (
        made
        if made.is_terminal
        else Console(stderr=stderr, highlight=False, markup=False, emoji=False, width=NOT_A_TERMINAL)
    )


def shown(value: object, limit: int = 300, *, lines: bool = False) -> str:
    """Any text, fit to be printed: at most ``limit`` characters. ``lines``: line breaks and tabs stay what they are."""
    text = "" if value is None else str(value)
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    if lines:
        return "\n".join("\t".join(_escaped(part) for part in line.split("\t")) for line in _LINES.split(cut))
    return _escaped(cut)


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(one if one == " " or _harmless(one) else one.encode("unicode_escape").decode() for one in text)


def _harmless(character: str) -> bool:
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def when(time: datetime | None) -> str:
    return "" if time is None else time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    print(json.dumps(value, indent=2, default=str))


def table(*columns: str, numeric: Collection[str] = ()) -> Table:
    """``numeric``: the columns that are read from the right."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in numeric else "left", overflow="fold")
    return made


def facts(*named: tuple[str, object]) -> Table:
    grid = Table.grid(padding=(0, 2))
    for name, value in named:
        if value is not None and value != "":
            grid.add_row(Text(name, "bold"), Text(shown(value, 2000)))
    return grid


def cells(*values: object) -> list[Text]:
    return [Text(shown(value), overflow="fold") for value in values]
