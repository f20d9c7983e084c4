"""Errors in words, for log lines, health files and problem documents: one line, and never empty."""

import asyncio
from typing import Final

MAX_LENGTH: Final = 300

_DEFAULT_MESSAGES: Final[dict[type[BaseException], str]] = {
    TimeoutError: "no answer in time",
    asyncio.CancelledError: "called off",
}


def reason(error: BaseException | None) -> str:
    """The error's class and message, such as ``TimeoutError: no answer in time``; a default message for errors without one."""
    if error is None:
        return "no reason is known"
    if isinstance(error, BaseExceptionGroup):
        return reason(error.exceptions[0])
    name, text = type(error).__name__, " ".join(str(error).split())
    if not text:
        text = next((words for kind, words in _DEFAULT_MESSAGES.items() if isinstance(error, kind)), "")
        if not text and error.__cause__ is not None:
            text = reason(error.__cause__)
    return (f"{name}: {text}" if text else name)[:MAX_LENGTH]
