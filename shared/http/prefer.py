"""The header ``Prefer: wait=N`` (RFC 7240): the first ``wait`` counts; preferences that are not understood are ignored (§2). Pure."""

import re
from collections.abc import Iterable
from typing import Final

HEADER: Final = "Prefer"
APPLIED: Final = "Preference-Applied"

# A preference, its value, and whatever parameters follow it up to the next comma outside of quotes.
_PREFERENCE: Final = re.compile(
    r'[\s,]*([^\s,;="]+)\s*(?:=\s*("(?:[^"\\]|\\.)*"|[^\s,;"]*))?((?:[^,"]|"(?:[^"\\]|\\.)*")*)(?:,|$)'
)
_SECONDS: Final = re.compile(r"\d{1,9}", re.ASCII)


def wait(values: Iterable[str], longest: int) -> int:
    """Seconds of ``Prefer: wait``, at most ``longest``; 0 without it."""
    text, place = ", ".join(values), 0
    while match := _PREFERENCE.match(text, place):
        name, value, _ = match.groups()
        if name.lower() == "wait":
            seconds = (value or "").strip('"')
            return min(int(seconds), longest) if _SECONDS.fullmatch(seconds) else 0
        place = match.end()
    return 0
