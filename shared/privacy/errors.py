"""Errors about personal data, without their texts: an error of a database or a library may quote the value that it is about."""

import traceback
from typing import Final

WITHHELD: Final = "(its text is withheld: it may quote personal data)"


def frames_of(error: BaseException) -> str:
    """Where the error and its causes were raised, and of which types they are; not what they say."""
    found: list[str] = []
    at: BaseException | None = error
    while at is not None and len(found) < 10:
        frames = "".join(traceback.format_tb(at.__traceback__))
        found.append(f"Traceback (most recent call last):\n{frames}{type(at).__name__}: {WITHHELD}\n")
        at = at.__cause__ or at.__context__
    return "\n".join(reversed(found))
