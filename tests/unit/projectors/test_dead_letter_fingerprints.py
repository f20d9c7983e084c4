"""Fingerprints: the same for the same cause, whatever the values; and never too long to be indexed."""

from hypothesis import given
from hypothesis import strategies as st

from projectors.dead_letters.letters.fingerprint import MAX_LENGTH, bounded, fingerprint

TRACE = """Traceback (most recent call last):
  File "/srv/tidemark/command_service/handling.py", line 88, in _unit
    await append(connection, batch, known, now)
  File "/srv/tidemark/command_service/event_store.py", line {line}, in append
    await connection.execute(INSERT_EVENTS)
  File "/usr/lib/python3/site-packages/asyncpg/connection.py", line 12, in execute
"""


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(1, 9999))
def test_values_and_line_numbers_make_no_difference(one: int, other: int, line: int) -> None:
    first = fingerprint("handler-failed", f"KeyError: order {one} of 'ann'", TRACE.format(line=12))
    second = fingerprint("handler-failed", f"KeyError: order {other} of 'bob'", TRACE.format(line=line))
    assert first == second == "KeyError|event_store.py:append|order ? of ?"


def test_another_type_place_or_message_is_another_cause() -> None:
    trace = TRACE.format(line=1)
    found = {
        fingerprint("handler-failed", "KeyError: a", trace),
        fingerprint("handler-failed", "ValueError: a", trace),
        fingerprint("handler-failed", "KeyError: b", trace),
        fingerprint("handler-failed", "KeyError: a", ""),
    }
    assert len(found) == 4


def test_without_an_exception_the_reason_stands_for_it() -> None:
    assert fingerprint("malformed-message", "not JSON: line 7", "") == "malformed-message|-|not JSON: line ?"
    assert fingerprint("delivery-limit", "", "") == "delivery-limit|-|"


@given(st.text(), st.text(), st.text())
def test_any_text_has_one(reason: str, exception: str, trace: str) -> None:
    fingerprint(reason, exception, trace)


@given(st.text(min_size=MAX_LENGTH + 1, max_size=MAX_LENGTH + 50))
def test_long_ones_are_cut_and_still_differ(text: str) -> None:
    assert len(bounded(text)) == MAX_LENGTH
    assert bounded(text) != bounded(text + "x")
