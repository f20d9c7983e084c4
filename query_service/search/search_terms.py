"""What somebody typed into a search box, as a ``tsquery``: what a word is, ``shared.views.search_text`` says.

Pieces are separated by white space, and all of them must be found; ``or`` between two means either, and binds less. ``"…"`` is a phrase:
its words just as they are, one after the other. ``-`` before a piece excludes what the piece finds. A compound is found as its words in a
row, and written as one. A word also finds its singular or plural (``query_service.search.plurals``), and the last one what begins with
it, for somebody may still be typing: unless it is quoted or excluded, or something follows it.
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
    description="Words, all of which must be found. A word is a run of letters and digits; case, accents and the width of characters"
    " make no difference (`creme` is `Crème`), nor does English singular or plural (`mugs` finds `mug`). `RED/GREEN`, `T-LIGHTS` and"
    " `U.S.A.` are found by each of their words, and written as one (`usa`); text in a script without spaces, such as `有機緑茶`,"
    ' by any part of it. `"in this order"` finds these words exactly, one after the other; `or` and `-without` are understood; the last'
    " word may be unfinished (`t-li`).",
)
Words = Annotated[str, _TYPED]
OptionalWords = Annotated[str | None, _TYPED]

_PIECES: Final = re.compile(r'(?P<minus>-?)"(?P<quoted>[^"]*)"?|(?P<bare>[^\s"]+)')
_OPERATORS: Final = re.compile(r'"|(?:^|\s)-|(?:^|\s)or(?:\s|$)', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TsQueries:
    """Two tsqueries; without a word in what was typed, both are empty."""

    query: str
    verbatim: str
    """Every word just as it was typed, and finished."""


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
    """What must be found each on its own, maybe in different places: the pieces that have words, or all of it where it has operators.

    Raises InvalidParameterError when there are more than MAX_WORDS.
    """
    if _OPERATORS.search(q):
        return [q]
    pieces = re.findall(r"\S+(?:\s|\Z)", q)  # white space says that a word is finished
    if len(pieces) > MAX_WORDS:
        raise InvalidParameterError("q", f"has more than {MAX_WORDS} words")
    return [piece for piece in dict.fromkeys(pieces) if compounds(piece)]


def bare_words(q: str) -> list[str]:
    """The bare words that are asked for, without operators and what is excluded; eight at most, the longest first."""
    kept = re.sub(r"(?:^|\s)-\S+", " ", unicodedata.normalize("NFC", q))
    words = {word.lower() for word in re.findall(r"\w+", kept)} - {"or"}
    return sorted(words, key=lambda word: (-len(word), word))[:8]


def _pieces(q: str) -> Iterator[_Piece]:
    """Those that have words."""
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
    """Each at its distance from the one before; the last may be unfinished."""
    query = ""
    at = before = 0
    for number, run in enumerate(runs, 1):
        if isinstance(run, Dense):
            pairs = bigrams(run)[:-1]
            operands = [f"'{pair}'" for pair in pairs] or [
                f"'{run}':*"
            ]  # one character is the beginning of each pair it begins
        else:
            operands = [_word(run, is_prefix=is_prefix and number == len(runs), verbatim=verbatim)]
        for place, operand in enumerate(operands, at):
            query = f"{query} <{place - before}> {operand}" if query else operand
            before = place
        at += len(run) if isinstance(run, Dense) else 1
    return query


def _word(word: str, *, is_prefix: bool, verbatim: bool) -> str:
    """Words are letters, digits and marks: nothing in them means anything to ``tsquery``."""
    if verbatim:
        return f"'{lexeme(word)}'"
    forms = [f"'{lexeme(word)}'{':*' if is_prefix else ''}"]
    forms += [f"'{lexeme(other)}'" for other in other_forms(word) if not (is_prefix and other.startswith(word))]
    return f"({' | '.join(forms)})"
