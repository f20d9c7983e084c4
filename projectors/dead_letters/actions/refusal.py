"""Why an operator's request is refused: a regular reply, not a failure of the worker."""

from collections.abc import Sequence
from typing import Any


class Refusal(Exception):
    """``code`` is stable, for programs; the message is for people. Nothing has been written."""

    def __init__(self, code: str, message: str, errors: Sequence[dict[str, Any]] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.errors = list(errors)
