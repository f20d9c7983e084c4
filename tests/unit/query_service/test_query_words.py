"""What people type: how it is asked, which word may be unfinished, and what counts as one thing to find."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query_service.http.problems import InvalidParameterError
from query_service.search.plurals import IRREGULAR, other_forms
from query_service.search.search_terms import bare_words, terms, tsqueries
from query_service.search.unindexed_terms import FormerQuery, former_query


@pytest.mark.parametrize(
    ("q", "query", "verbatim"),
    [
        ("Milk", "('milk':*)", "'milk'"),
        ("milk ", "('milk' | 'milks')", "'milk'"),
        ("mugs", "('mugs':* | 'mug')", "'mugs'"),
        ("whole mil", "('whole' | 'wholes') & ('mil':*)", "'whole' & 'mil'"),
        ("ab or cd", "('ab') | ('cd':*)", "'ab' | 'cd'"),
        ("ab cd or ef", "('ab') & ('cd') | ('ef':*)", "'ab' & 'cd' | 'ef'"),
        ("ab or", "('ab')", "'ab'"),
        ("or", "('or':*)", "'or'"),
        ('"whole milks', "'whole' <1> 'milks'", "'whole' <1> 'milks'"),
        ('"whole milk" cd', "'whole' <1> 'milk' & ('cd':*)", "'whole' <1> 'milk' & 'cd'"),
        ("ab -cd", "('ab') & !(('cd'))", "'ab' & !('cd')"),
        ("t-li", "(('t') <1> ('li':*) | ('tli':*))", "('t' <1> 'li' | 'tli')"),
        ("u.s.", "(('u') <1> ('s') | ('us'))", "('u' <1> 's' | 'us')"),
        ("1.5", "('1') <1> ('5':*)", "'1' <1> '5'"),
        ("crème brû", "('creme' | 'cremes') & ('bru':*)", "'creme' & 'bru'"),
        ("有機緑茶", "'有機' <1> '機緑' <1> '緑茶'", "'有機' <1> '機緑' <1> '緑茶'"),
        ("茶", "'茶':*", "'茶':*"),
        ("緑茶1l", "'緑茶' <2> ('1l':*)", "'緑茶' <2> '1l'"),
        ("&|!():*<->", "", ""),
    ],
)
def test_what_is_typed_is_asked_as_a_tsquery(q: str, query: str, verbatim: str) -> None:
    understood = tsqueries(q)
    assert (understood.query, understood.verbatim) == (query, verbatim)


@pytest.mark.parametrize(
    ("singular", "plural"),
    [
        *(("mug", "mugs"), ("box", "boxes"), ("glass", "glasses"), ("berry", "berries"), ("cookie", "cookies")),
        *(("candle", "candles"), ("tomato", "tomatoes"), ("shoe", "shoes"), ("knife", "knives"), ("shelf", "shelves")),
        *(("match", "matches"), ("toy", "toys"), ("size", "sizes"), ("bus", "buses"), ("menu", "menus")),
        *((singular, plural) for plural, singular in IRREGULAR.items()),
    ],
)
def test_a_singular_and_its_plural_are_forms_of_each_other(singular: str, plural: str) -> None:
    assert plural in other_forms(singular)
    assert singular in other_forms(plural)


@pytest.mark.parametrize(("one", "other"), [("car", "care"), ("win", "wine"), ("glas", "glass"), ("ta", "tas")])
def test_words_that_only_look_alike_are_no_forms_of_each_other(one: str, other: str) -> None:
    assert one not in other_forms(other)
    assert other not in other_forms(one)


@given(st.text("aeosxzchfyvin", min_size=1, max_size=8))
def test_a_word_is_a_form_of_each_of_its_forms(word: str) -> None:
    for other in other_forms(word):
        assert word in other_forms(other), other


def test_words_are_found_one_by_one_and_operators_keep_them_together() -> None:
    assert terms("anna  whole & mil") == ["anna ", "whole ", "mil"]
    assert len(terms('anna "whole milk"')) == len(terms("milk -choc")) == len(terms("milk OR cream")) == 1


def test_too_many_words_are_refused() -> None:
    with pytest.raises(InvalidParameterError, match="words"):
        terms("a " * 33)


def test_similar_words_are_looked_for_without_what_is_excluded() -> None:
    assert bare_words('Choclate or "mlik" -cream') == ["choclate", "mlik"]


@pytest.mark.parametrize(
    ("q", "understood"),
    [
        ("milk", FormerQuery("", "milk", either=False)),
        ("whole mil", FormerQuery("whole ", "mil", either=False)),
        ("milk or crea", FormerQuery("milk or ", "crea", either=True)),
        ("milk or", FormerQuery("milk or", None, either=False)),
        ('"whole mil', FormerQuery('"whole mil', None, either=False)),
        ("semi-skimmed", FormerQuery("semi-skimmed", None, either=False)),
    ],
)
def test_rows_without_terms_are_asked_as_they_were(q: str, understood: FormerQuery) -> None:
    assert former_query(q) == understood


@given(st.text(max_size=80))
def test_nothing_typed_is_lost_for_rows_without_terms(q: str) -> None:
    understood = former_query(q)
    assert understood.head + (understood.last or "") == q
