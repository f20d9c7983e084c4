"""Errors in words: what a log line, a health file or a problem says of one is never empty, and one line."""

import asyncio
from typing import Final

LONGEST: Final = 300

_SILENT: Final[dict[type[BaseException], str]] = {
    TimeoutError: "no answer in time",
    asyncio.CancelledError: "called off",
}


def reason(error: BaseException | None) -> str:
    """The error's class and what it says: ``TimeoutError: no answer in time`` for one that says nothing of its own."""
    if error is None:
        return "no reason is known"
    if isinstance(error, BaseExceptionGroup):
        return reason(error.exceptions[0])
    name, text = type(error).__name__, " ".join(str(error).split())
    if not text:
        text = next((words for kind, words in _SILENT.items() if isinstance(error, kind)), "")
        if not text and error.__cause__ is not None:
            text = reason(error.__cause__)
    return (f"{name}: {text}" if text else name)[:LONGEST]
