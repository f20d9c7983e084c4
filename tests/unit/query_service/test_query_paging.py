"""Cursors: good for their own question, refused for any other, and never an error of ours whatever comes in."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from query_service.http.paging import ListQuery, SortKey, VersionKey, page
from query_service.http.problems import InvalidParameterError


class Key(SortKey, frozen=True):
    at: Annotated[datetime, msgspec.Meta(tz=True)]
    id: str


ORDERS = ListQuery("orders", "household-7", None)
KEY = Key(datetime(2026, 3, 1, 9, 30, 0, 123456, tzinfo=UTC), "ø/17")


@given(
    st.datetimes(timezones=st.just(UTC)), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
)
def test_a_cursor_gives_back_the_key_it_was_made_from(at: datetime, id_: str) -> None:
    assert ORDERS.key(ORDERS.cursor(Key(at, id_)), Key) == Key(at, id_)


@given(st.text(max_size=60))
def test_a_cursor_needs_no_escaping_in_a_url(id_: str) -> None:
    text = id_.encode("utf-8", "replace").decode()
    assert ORDERS.cursor(Key(KEY.at, text)).replace("-", "").replace("_", "").isalnum()


@pytest.mark.parametrize(
    "other",
    [ListQuery("orders", "household-8", None), ListQuery("orders", "household-7", "paid"), ListQuery("history")],
)
def test_a_cursor_of_another_question_is_refused(other: ListQuery) -> None:
    with pytest.raises(InvalidParameterError, match="another query"):
        other.key(ORDERS.cursor(KEY), Key)


@given(st.one_of(st.text(max_size=80), st.text("ABCabc012-_", max_size=80)))
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameterError):
        ORDERS.key(text, Key)


@pytest.mark.parametrize("key", [VersionKey(7), Key(KEY.at, "a\x00b")])
def test_a_cursor_with_a_key_that_no_list_has_is_refused(key: SortKey) -> None:
    with pytest.raises(InvalidParameterError, match="not a cursor"):
        ORDERS.key(ORDERS.cursor(key), Key)


def test_a_page_is_json_around_json() -> None:
    assert msgspec.json.decode(page(['{"a":1}', '{"b":2}'], None, total="2")) == {
        "items": [{"a": 1}, {"b": 2}],
        "next_cursor": None,
        "total": 2,
    }
