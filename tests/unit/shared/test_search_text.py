"""The definition of a word, by examples; that every word is found is for the database to show."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.views.search_text import LARGEST, LONGEST, fold, vector, words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("RED/GREEN SCARF", "red green redgreen scarf"),
        ("T-LIGHTS HOLDER", "t lights tlights holder"),
        ("U.S.A. blend_no.5", "u s a usa blend no 5 blendno5"),
        ("Kellogg’s M&M'S", "kellogg s kelloggs m m s mms"),
        ("6 PK/12 OZ, .9 L 1.5L 1/2", "6 pk 12 pk12 oz 9 l 1 5l 1 2"),
        ("Cookies / Cones (Wafer),plain", "cookies cones wafer plain"),
        ("Crème Cre\u0300me BRÛLÉE", "creme creme brulee"),
        ("Smørrebrød Straße İzmir ﬁsh", "smorrebrod strasse izmir fish"),
        ("ＡＢＣ ﾃｨｰ", "abc ティー テ ィ ー ティ ィー ー"),
        ("緑茶100ml", "緑茶 緑 茶 緑茶 茶 100ml"),
        ("हिन्दी Ёлка ΣΊΣΥΦΟΣ", "हिन्दी елка σισυφοσ"),
        ("Coke™ co\u00adop a\u200bb 1️⃣ 🥛 ½", "coke coop a b 1 1 2"),
        ("- -- /.", ""),
    ],
)
def test_words_are_what_the_definition_says(text: str, found: str) -> None:
    assert [*words(text)] == found.split()


def test_folding_is_done_once_for_all() -> None:
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)) not in ("Cn", "Co", "Cs"):
            folded = fold(chr(code))
            assert fold(folded) == folded, hex(code)


@given(st.text(max_size=60))
def test_composed_or_decomposed_upper_or_lower_case_a_text_has_the_same_words(text: str) -> None:
    expected = [*words(text)]
    assert [*words(unicodedata.normalize("NFD", text))] == expected
    assert [*words(unicodedata.normalize("NFC", text))] == expected
    assert [*words(text.casefold())] == expected


def test_a_vector_has_each_word_at_its_places_and_no_phrase_reaches_from_one_field_into_the_next() -> None:
    assert vector(("Red/green", "A"), ("", "B"), ("緑茶 red", "C")) == (
        "'red':1A 'green':2A 'redgreen':3A '緑茶':5C '茶':6C 'red':7C"
    )


def test_a_vector_is_never_larger_than_postgresql_takes() -> None:
    assert vector(("x" * 1000, "A")) == f"'{'x' * LONGEST}':1A"
    assert len(vector(*((f"{i:0500}", "B") for i in range(2000)))) <= 1.1 * LARGEST
