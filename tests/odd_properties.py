"""Properties of messages as senders in other languages can make them, and Python cannot represent them."""

from datetime import UTC, datetime
from typing import Any


class Raw(str):
    """A text that goes out as these bytes, which are no UTF-8."""

    def encode(self, *_: Any) -> bytes:
        return b"\xff\xfe\x01"


class Moment(datetime):
    """A time that goes out as this number, in whatever unit its sender thinks it has."""

    number = 0

    def timestamp(self) -> float:
        return self.number


def moment(number: int) -> Moment:
    made = Moment(2026, 1, 1, tzinfo=UTC)
    made.number = number
    return made
