"""Errors in words, for log lines, health files and problem documents: one line, never empty, and without the data that caused them."""

import asyncio
from typing import Final

import asyncpg
from pydantic import ValidationError

MAX_LENGTH: Final = 300
MAX_NAMED: Final = 3

_DEFAULT_MESSAGES: Final[dict[type[BaseException], str]] = {
    TimeoutError: "no answer in time",
    asyncio.CancelledError: "called off",
}


def reason(error: BaseException | None) -> str:
    """The error's class and message, such as ``TimeoutError: no answer in time``; a default message for errors without one.

    Left out is what a library appends from the data: the input of a validation error, the row in the detail of a database error.
    """
    if error is None:
        return "no reason is known"
    if isinstance(error, BaseExceptionGroup):
        return reason(error.exceptions[0])
    name, text = type(error).__name__, " ".join(_message(error).split())
    if not text:
        text = next((words for kind, words in _DEFAULT_MESSAGES.items() if isinstance(error, kind)), "")
        if not text and error.__cause__ is not None:
            text = reason(error.__cause__)
    return (f"{name}: {text}" if text else name)[:MAX_LENGTH]


def _message(error: BaseException) -> str:
    if isinstance(error, ValidationError):
        some = error.errors(include_url=False, include_context=False, include_input=False)[:MAX_NAMED]
        return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'it'}: {one['type']}" for one in some)
    if isinstance(error, asyncpg.PostgresError):
        return str(error.args[0]) if error.args else ""
    return str(error)
