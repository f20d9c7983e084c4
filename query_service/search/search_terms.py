"""Translates the text of a search box into a ``tsquery``. ``shared.views.search_text`` defines what a word is.

Pieces are separated by white space, and all must match; ``or`` between two means either, with lower precedence. ``"…"`` is a phrase: its
words as typed, in sequence. ``-`` before a piece excludes its matches. A compound matches as a sequence of its words, and written as
one word. A word also matches its singular or plural (``query_service.search.plurals``). The last word is also a prefix, because the user
may still be typing, unless it is quoted or excluded, or something follows it.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Final

from litestar.params import QueryParameter

from query_service.http.problems import InvalidParameterError
from query_service.search.plurals import other_forms
from shared.views.search_text import Compound, Dense, bigrams, compounds, fold, joined, lexeme

MAX_LENGTH: Final = 500
MAX_WORDS: Final = 32

_TYPED: Final = QueryParameter(
    max_length=MAX_LENGTH,
    description="Words, all of which must match. A word is a run of letters and digits. Case, accents and character width are ignored"
    " (`creme` matches `Crème`), and so is English singular or plural (`mugs` matches `mug`). `RED/GREEN`, `T-LIGHTS` and `U.S.A.` match"
    " each of their words, and the words written as one (`usa`); text in a script without spaces, such as `有機緑茶`, matches any part"
    ' of it. `"in this order"` matches exactly these words in sequence; `or` and `-without` are supported; the last word may be'
    " incomplete (`t-li`).",
)
Words = Annotated[str, _TYPED]
OptionalWords = Annotated[str | None, _TYPED]

_PIECES: Final = re.compile(r'(?P<minus>-?)"(?P<quoted>[^"]*)"?|(?P<bare>[^\s"]+)')
_OPERATORS: Final = re.compile(r'"|(?:^|\s)-|(?:^|\s)or(?:\s|$)', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TsQueries:
    """Two tsqueries; both are empty if the search text has no word."""

    query: str
    verbatim: str
    """Every word as typed, without other forms and prefixes."""


@dataclass(frozen=True, slots=True)
class _Piece:
    compounds: Sequence[Compound]
    is_or: bool = False
    is_phrase: bool = False
    is_excluded: bool = False
    is_prefix: bool = False


def tsqueries(q: str) -> TsQueries:
    pieces = list(_pieces(q))
    alternatives: list[list[_Piece]] = [[]]
    for place, piece in enumerate(pieces):
        if piece.is_or and alternatives[-1]:
            if place < len(pieces) - 1:
                alternatives.append([])
        else:
            alternatives[-1].append(piece)
    return TsQueries(_any_of(alternatives, verbatim=False), _any_of(alternatives, verbatim=True))


def terms(q: str) -> list[str]:
    """The terms that must each match, possibly in different fields: the pieces with words, or the whole text if it has operators.

    Raises InvalidParameterError if there are more than MAX_WORDS.
    """
    if _OPERATORS.search(q):
        return [q]
    pieces = re.findall(r"\S+(?:\s|\Z)", q)  # keeps the white space that marks a word as complete
    if len(pieces) > MAX_WORDS:
        raise InvalidParameterError("q", f"has more than {MAX_WORDS} words")
    return [piece for piece in dict.fromkeys(pieces) if compounds(piece)]


def is_exact(q: str) -> bool:
    """Whether the search text has quotes or excludes words: then only what it asks for is a match, and nothing that is spelt alike."""
    return '"' in q or any(piece.is_excluded for piece in _pieces(q))


def bare_words(q: str) -> list[str]:
    """The words of the search text without operators and excluded pieces; at most eight, the longest first."""
    kept = re.sub(r"(?:^|\s)-\S+", " ", unicodedata.normalize("NFC", q))
    words = {word.lower() for word in re.findall(r"\w+", kept)} - {"or"}
    return sorted(words, key=lambda word: (-len(word), word))[:8]


def _pieces(q: str) -> Iterator[_Piece]:
    """The pieces that have words."""
    for found in _PIECES.finditer(q):
        bare = found["bare"]
        if bare is None:
            piece = _Piece(compounds(found["quoted"]), is_phrase=True, is_excluded=bool(found["minus"]))
        elif bare.startswith("-"):
            piece = _Piece(compounds(bare), is_excluded=True)
        else:
            is_prefix = found.end() == len(q) and _ends_with_word(bare)
            piece = _Piece(compounds(bare), is_or=bare.lower() == "or", is_prefix=is_prefix)
        if piece.compounds:
            yield piece


def _ends_with_word(bare: str) -> bool:
    found = compounds(bare)
    return bool(found) and fold(bare).endswith(found[-1][-1])


def _any_of(alternatives: Sequence[Sequence[_Piece]], *, verbatim: bool) -> str:
    return " | ".join(
        " & ".join(_piece(piece, verbatim=verbatim) for piece in every) for every in alternatives if every
    )


def _piece(piece: _Piece, *, verbatim: bool) -> str:
    if piece.is_phrase:
        query = _phrase([*chain(*piece.compounds)], is_prefix=False, verbatim=True)
    else:
        *others, last = piece.compounds
        each = [_compound(one, is_prefix=False, verbatim=verbatim) for one in others]
        each.append(_compound(last, is_prefix=piece.is_prefix and not verbatim, verbatim=verbatim))
        query = " & ".join(each)
    return f"!({query})" if piece.is_excluded else query


def _compound(compound: Compound, *, is_prefix: bool, verbatim: bool) -> str:
    query = _phrase(compound, is_prefix=is_prefix, verbatim=verbatim)
    whole = joined(compound)
    return f"({query} | {_word(whole, is_prefix=is_prefix, verbatim=verbatim)})" if whole else query


def _phrase(runs: Sequence[str], *, is_prefix: bool, verbatim: bool) -> str:
    """The words with their distances as a tsquery phrase; with ``is_prefix`` the last one is a prefix."""
    query = ""
    at = before = 0
    for number, run in enumerate(runs, 1):
        if isinstance(run, Dense):
            pairs = bigrams(run)[:-1]
            operands = [f"'{pair}'" for pair in pairs] or [
                f"'{run}':*"
            ]  # a single character matches as the prefix of bigrams
        else:
            operands = [_word(run, is_prefix=is_prefix and number == len(runs), verbatim=verbatim)]
        for place, operand in enumerate(operands, at):
            query = f"{query} <{place - before}> {operand}" if query else operand
            before = place
        at += len(run) if isinstance(run, Dense) else 1
    return query


def _word(word: str, *, is_prefix: bool, verbatim: bool) -> str:
    """One word and its other forms. Words are letters, digits and marks, so nothing needs escaping in a ``tsquery``."""
    if verbatim:
        return f"'{lexeme(word)}'"
    forms = [f"'{lexeme(word)}'{':*' if is_prefix else ''}"]
    forms += [f"'{lexeme(other)}'" for other in other_forms(word) if not (is_prefix and other.startswith(word))]
    return f"({' | '.join(forms)})"
