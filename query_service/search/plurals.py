"""English plurals and singulars, derived from the spelling, as additional forms to search for.

Indexed text is not changed, so two different words are never conflated; a form that no text contains, such as ``berrie`` for
``berries``, matches nothing.
"""

from collections.abc import Iterator
from typing import Final

IRREGULAR: Final = {
    "children": "child",
    "feet": "foot",
    "geese": "goose",
    "men": "man",
    "mice": "mouse",
    "teeth": "tooth",
    "women": "woman",
}
"""Plural → singular."""
SHORTEST: Final = 3
"""Minimum letters of a singular."""

_PLURALS: Final = {singular: plural for plural, singular in IRREGULAR.items()}
_SIBILANTS: Final = ("s", "x", "z", "ch", "sh")
_VOWELS: Final = "aeiou"


def other_forms(word: str) -> list[str]:
    """Possible singulars and plurals of the word; the relation is symmetric. Empty for words with letters other than a to z."""
    if not (word.isascii() and word.isalpha()):
        return []
    return [*dict.fromkeys([*_singulars(word), *_plurals(word)])]


def _singulars(word: str) -> Iterator[str]:
    if word in IRREGULAR:
        yield IRREGULAR[word]
    elif word.endswith("s"):
        candidates = [word[:-1], word[:-2], word[:-3] + "y", word[:-3] + "f", word[:-3] + "fe"]
        yield from (candidate for candidate in candidates if word in _plurals(candidate))


def _plurals(word: str) -> Iterator[str]:
    if len(word) < SHORTEST:
        return
    if word in _PLURALS:
        yield _PLURALS[word]
    if word.endswith("y") and word[-2] not in _VOWELS:
        yield word[:-1] + "ies"
    elif word.endswith(_SIBILANTS):
        yield word + "es"
    else:
        yield word + "s"
    if word.endswith("o"):
        yield word + "es"
    elif word.endswith(("f", "fe")):
        yield word.removesuffix("e")[:-1] + "ves"
