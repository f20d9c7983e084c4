"""What somebody typed into a search box, as text search understands it.

Quotes, ``or`` and a leading ``-`` mean what they mean to ``websearch_to_tsquery``. The last word, unless it is quoted,
excluded or joined to another, also matches what begins with it, for somebody may still be typing.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Final

from litestar.params import QueryParameter

from query_service.problems import InvalidParameterError

MAX_LENGTH: Final = 500
MAX_WORDS: Final = 32

_TYPED: Final = QueryParameter(
    max_length=MAX_LENGTH,
    description='Words, all of which must be found. `"in this order"`, `or` and `-without` are understood; the last word'
    " may be unfinished.",
)
Words = Annotated[str, _TYPED]
OptionalWords = Annotated[str | None, _TYPED]

_OPERATORS: Final = re.compile(r'"|(?:^|\s)-|(?:^|\s)or(?:\s|$)', re.IGNORECASE)
_LAST: Final = re.compile(r"(?P<head>.*(?:^|\s))(?P<last>\w+)\Z", re.DOTALL)
_OR: Final = re.compile(r"(?:^|\s)or\s*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Asked:
    """``head`` as typed; ``last`` is the unfinished word after it, if there is one, ``either``: joined by ``or``."""

    head: str
    last: str | None
    either: bool


def asked(q: str) -> Asked:
    found = _LAST.match(q)
    if found is None or q.count('"') % 2 or found["last"].lower() == "or":
        return Asked(q, None, either=False)
    return Asked(found["head"], found["last"], either=bool(_OR.search(found["head"])))


def terms(q: str) -> list[Asked]:
    """What must be found each on its own, maybe in different places: the words, or all of it where it has operators.

    Raises InvalidParameterError when there are more than MAX_WORDS.
    """
    if _OPERATORS.search(q):
        return [asked(q)]
    words = q.split()
    if len(words) > MAX_WORDS:
        raise InvalidParameterError("q", f"has more than {MAX_WORDS} words")
    return [*(Asked(word, None, either=False) for word in words[:-1]), *(asked(word) for word in words[-1:])]


def plain(q: str) -> list[str]:
    """The bare words that are asked for, without operators and what is excluded; eight at most, the longest first."""
    kept = re.sub(r"(?:^|\s)-\S+", " ", q)
    words = {word.lower() for word in re.findall(r"\w+", kept)} - {"or"}
    return sorted(words, key=lambda word: (-len(word), word))[:8]
