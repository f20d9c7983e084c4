"""Tables as CSV: RFC 4180, with a header line, for spreadsheets as well as programs. Pure.

A spreadsheet runs a cell that begins with ``= + - @``, a tab or a carriage return as a formula, quoted or not. Texts come from senders of
commands, so such a text gets an apostrophe in front, which spreadsheets show as text; one that begins with an apostrophe gets another, so
that a program can undo it: remove one apostrophe from the front. Numbers are written as they are, negative ones included.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

MEDIA_TYPE: Final = "text/csv"

Cell = str | int | None
_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "'")
"""The full-width forms count as well: some spreadsheets take them for the others."""


def csv_table(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> bytes:
    """UTF-8; lines end with CRLF; an empty cell is a value that is absent."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow([neutralised(cell) if isinstance(cell, str) else cell for cell in row])
    return text.getvalue().encode()


def neutralised(text: str) -> str:
    return f"'{text}" if text.startswith(_STARTS) else text
