"""The definition of a word for full-text search, used for indexing and for queries alike. Pure.

**Folding.** Case, accents, and the width and form of characters are ignored: ``Crème``, ``CREME`` and ``creme`` are the same word, and so
are ``ＡＢＣ`` and ``abc`` (NFKC and full case folding of Unicode; the marks of Latin, Greek, Cyrillic, Hebrew and Arabic are removed).

**A word** is a run of letters and digits, with their marks; everything else separates words. Runs with only JOINERS between them,
such as ``T-LIGHTS``, ``RED/GREEN``, ``U.S.A.``, ``Kellogg's``, are a *compound*: each run is a word, and so is their concatenation
(``tlights``, ``redgreen``, ``usa``), unless two digits would be adjacent: ``1.5`` is not ``15``.

**A dense run** is one in a script that is written without spaces (Chinese, Japanese, Korean, Thai, Lao, Khmer, Burmese). Any part of
it is a word. The index has each pair of neighbouring characters as a lexeme, and the last character alone.

A word longer than LONGEST characters is truncated. Positions, for phrase search, count words and the characters of dense runs;
PostgreSQL keeps the first 256 of a lexeme, and none above 16,383.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache
from itertools import groupby, pairwise
from typing import Final, Literal

Weight = Literal["A", "B", "C", "D"]

JOINERS: Final = "-/._'&+:@=~#*\\"
LONGEST: Final = 255
"""PostgreSQL refuses a lexeme of more than 2,046 bytes."""
LARGEST: Final = 200_000
"""Characters of a serialised vector: each takes up to four bytes, and PostgreSQL refuses a vector of 1 MiB."""

CACHED: Final = 16384
CACHED_LENGTH: Final = 200
"""Names recur often, mostly in order lines: texts of at most this length are cached, except ids, which have no spaces."""

# Replaced first: signs that are not part of the word they follow (™ and ℠ would become letters), and variants of joiners.
_SIGNS: Final = str.maketrans(
    dict.fromkeys("™℠\N{ZERO WIDTH SPACE}", " ")
    | dict.fromkeys("‐‑‒–—―−﹘﹣－", "-")
    | dict.fromkeys("‘’‛ʹʻʼʽ＇´`", "'")
    | dict.fromkeys("⁄∕", "/")
)
# Letters without a decomposition, which users type without their diacritic.
_LETTERS: Final = dict(zip("øłđðħŧı", "olddhti", strict=True)) | {"æ": "ae", "œ": "oe", "þ": "th"}
_ACCENTS: Final = (
    *((0x0300, 0x036F), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF), (0xFE20, 0xFE2F)),
    (0x0483, 0x0489),  # Cyrillic
    (0x0591, 0x05C7),  # Hebrew
    *((0x0610, 0x061A), (0x064B, 0x065F), (0x0670, 0x0670), (0x06D6, 0x06ED)),  # Arabic
    *((0xFE00, 0xFE0F), (0xE0100, 0xE01EF)),  # variation selectors
)
_DENSE: Final = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1100, 0x11FF),  # Korean letters
    (0x1780, 0x17FF),  # Khmer
    *((0x3040, 0x318F), (0x31A0, 0x31FF)),  # Japanese syllables, Chinese phonetic signs
    *((0x3005, 0x3007), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF)),  # Chinese characters
    (0xAC00, 0xD7FF),  # Korean syllables
)
_RARE_IDEOGRAPHS: Final = "\U00020000-\U0003ffff"
_LAST_MARK: Final = 0x1EFFF

_ASCII_COMPOUNDS: Final = re.compile(rf"[a-z0-9]+(?:[{re.escape(JOINERS)}]+[a-z0-9]+)*")
_ASCII_RUNS: Final = re.compile(r"[a-z0-9]+")


class Dense(str):
    """A dense run; any other string among runs is a word."""

    __slots__ = ()


Compound = Sequence[str]
"""Adjacent runs; usually one word."""


def fold(text: str) -> str:
    """The text with case, accents, width and form removed."""
    if text.isascii():
        return text.lower()
    unmarked = unicodedata.normalize("NFKC", text.translate(_SIGNS)).casefold().translate(_SIGNS)
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKD", unmarked).translate(_folding()))


def compounds(text: str) -> list[Compound]:
    """The compounds of the text, in order."""
    folded = fold(text)
    if folded.isascii():
        return [
            [found] if found.isalnum() else _ASCII_RUNS.findall(found) for found in _ASCII_COMPOUNDS.findall(folded)
        ]
    whole, dense_or_not = _patterns()
    return [
        [run.group() if run.lastgroup is None else Dense(run.group()) for run in dense_or_not.finditer(found.group())]
        for found in whole.finditer(folded)
    ]


def joined(compound: Compound) -> str | None:
    """The compound's words concatenated; None where that is not a word."""
    if len(compound) == 1 or any(isinstance(run, Dense) for run in compound):
        return None
    if any(one[-1].isdigit() and other[0].isdigit() for one, other in pairwise(compound)):
        return None
    return "".join(compound)


def lexeme(word: str) -> str:
    return word[:LONGEST]


def bigrams(dense: str) -> list[str]:
    """Each pair of neighbouring characters, and the last character alone."""
    return [dense[i : i + 2] for i in range(len(dense))]


def words(text: str) -> Iterator[str]:
    """Every folded word of the text; of a dense run the whole, each character and each pair, as it has too many parts to list."""
    for compound in compounds(text):
        for run in compound:
            yield str(run)
            if isinstance(run, Dense):
                yield from run
                yield from bigrams(run)
        if whole := joined(compound):
            yield whole


def vector(*fields: tuple[str | None, Weight]) -> str:
    """The texts as a ``tsvector`` literal, each with its weight; no phrase spans two texts.

    Texts that begin beyond LARGEST characters are omitted.
    """
    parts: list[str] = []
    positions: list[int] = []
    start, length = 1, 0
    for text, weight in fields:
        if not text:
            continue
        part, width = _cached_part(text, weight) if " " in text and len(text) <= CACHED_LENGTH else _part(text, weight)
        if not width:
            continue
        parts.append(part)
        positions += range(start, start + width)
        start += width + 1
        length += len(part)
        if length > LARGEST:
            break
    return " ".join(parts) % tuple(positions)


def _part(text: str, weight: Weight) -> tuple[str, int]:
    """The text's part of a vector, with placeholders for its positions, and their number.

    Concatenations come last: in a phrase, a compound counts as its words. Lexemes consist of letters, digits and marks, so there is
    nothing to escape, and no percent sign.
    """
    if text.isascii() and text.isalnum():
        return f"'{lexeme(text.lower())}':%d{weight}", 1
    found: list[str] = []
    wholes: list[str] = []
    for compound in compounds(text):
        for run in compound:
            if isinstance(run, Dense):
                found += bigrams(run)
            else:
                found.append(run[:LONGEST])
        if len(compound) > 1 and (whole := joined(compound)):
            wholes.append(lexeme(whole))
    found += wholes
    end = f"':%d{weight}"
    return "'" + f"{end} '".join(found) + end if found else "", len(found)


_cached_part: Final = lru_cache(CACHED)(_part)


@cache
def _folding() -> dict[int, str | None]:
    """The characters to remove from a decomposed text, and those to replace."""
    unseen = (code for code in range(_LAST_MARK) if unicodedata.category(chr(code)) == "Cf")
    marks = (code for first, last in _ACCENTS for code in range(first, last + 1))
    return {ord(one): other for one, other in _LETTERS.items()} | dict.fromkeys([*marks, *unseen])


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """The patterns of a compound, and of a run, with the group ``dense``. Built on first use: they cover all of Unicode."""
    dense = "".join(_characters(_DENSE, "LMN")) + _RARE_IDEOGRAPHS
    marks = "".join(_characters([(0, _LAST_MARK)], "M"))
    word = rf"(?![{dense}])[^\W_](?:(?![{dense}])(?:[^\W_]|[{marks}]))*"
    run = rf"(?:[{dense}]+|{word})"
    return re.compile(rf"{run}(?:[{re.escape(JOINERS)}]*{run})*"), re.compile(rf"(?P<dense>[{dense}]+)|{word}")


def _characters(ranges: Iterable[tuple[int, int]], categories: str) -> Iterator[str]:
    """The characters of these general categories, as ranges of a regular expression's set."""
    for first, last in ranges:
        codes = range(first, last + 1)
        for belongs, found in groupby(codes, lambda code: unicodedata.category(chr(code))[0] in categories):
            if belongs:
                several = [chr(code) for code in found]
                yield f"{several[0]}-{several[-1]}"
