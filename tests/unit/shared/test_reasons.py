"""Errors in words."""

import asyncio

import pytest

from shared.messaging.broker import BrokerUnavailableError, deadline
from shared.runtime.reasons import reason


class SomethingError(Exception):
    pass


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TimeoutError(), "TimeoutError: no answer in time"),
        (asyncio.CancelledError(), "CancelledError: called off"),
        (SomethingError(), "SomethingError"),
        (SomethingError("of two\n  lines"), "SomethingError: of two lines"),
        (caused(SomethingError(), TimeoutError()), "SomethingError: TimeoutError: no answer in time"),
        (ExceptionGroup("several", [TimeoutError(), OSError("gone")]), "TimeoutError: no answer in time"),
        (None, "no reason is known"),
    ],
)
def test_the_words_for_an_error_are_one_line_and_never_empty(error: BaseException | None, words: str) -> None:
    assert reason(error) == words


def test_a_long_text_is_cut() -> None:
    assert len(reason(SomethingError("x" * 5000))) == 300


async def test_a_broker_that_does_not_answer_in_time_is_said_so() -> None:
    with pytest.raises(BrokerUnavailableError, match="TimeoutError: no answer in time"):
        async with deadline(0.01):
            await asyncio.Event().wait()
