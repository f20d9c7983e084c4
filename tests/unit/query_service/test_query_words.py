"""What people type: which word may be unfinished, and what counts as one thing to find."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query_service.problems import InvalidParameterError
from query_service.words import Asked, asked, plain, terms


@pytest.mark.parametrize(
    ("q", "understood"),
    [
        ("milk", Asked("", "milk", either=False)),
        ("whole mil", Asked("whole ", "mil", either=False)),
        ("milk or crea", Asked("milk or ", "crea", either=True)),
        ("milk or", Asked("milk or", None, either=False)),
        ('"whole mil', Asked('"whole mil', None, either=False)),
        ('"whole milk" choc', Asked('"whole milk" ', "choc", either=False)),
        ("milk -choc", Asked("milk -choc", None, either=False)),
        ("semi-skimmed", Asked("semi-skimmed", None, either=False)),
        ("milk ", Asked("milk ", None, either=False)),
        ("crème brû", Asked("crème ", "brû", either=False)),
    ],
)
def test_only_a_bare_last_word_may_be_unfinished(q: str, understood: Asked) -> None:
    assert asked(q) == understood


@given(st.text(max_size=80))
def test_nothing_typed_is_lost(q: str) -> None:
    understood = asked(q)
    assert understood.head + (understood.last or "") == q


def test_words_are_found_one_by_one_and_operators_keep_them_together() -> None:
    assert [one.head + (one.last or "") for one in terms("anna  whole mil")] == ["anna", "whole", "mil"]
    assert len(terms('anna "whole milk"')) == len(terms("milk -choc")) == len(terms("milk OR cream")) == 1


def test_too_many_words_are_refused() -> None:
    with pytest.raises(InvalidParameterError, match="words"):
        terms("a " * 33)


def test_similar_words_are_looked_for_without_what_is_excluded() -> None:
    assert plain('Choclate or "mlik" -cream') == ["choclate", "mlik"]
