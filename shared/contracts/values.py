"""The scalar types every contract is built from: what an id, a text, an amount and a time may be.

They are narrow on purpose: whatever passes here can be stored in PostgreSQL and Redis, indexed, and sent as JSON
to any language without loss (integers stay within 2**53 - 1, the largest a double holds exactly, RFC 8259 §6).

Commands come from strangers and are checked field by field (pydantic); events are our own word, read many times more often than they
are written, and are structs (msgspec), which cost a sixth to read and to write (deploy/decisions/0023).
"""

import re
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, Final, get_type_hints

import msgspec
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict, StringConstraints

MAX_AMOUNT: Final = 2**53 - 1
MAX_QUANTITY: Final = 10**9
EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)

_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")


def _only_rfc3339(value: Any) -> Any:
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("a time is RFC 3339 text with a time zone, like 2026-03-01T09:30:00Z")
    return value


def _in_utc(value: datetime) -> datetime:
    if value.tzinfo is not UTC:
        try:
            value = value.astimezone(UTC)
        except OverflowError as error:
            raise ValueError("the time is outside the calendar") from error
    if not EARLIEST <= value < LATEST:
        raise ValueError("the time must lie between 1970-01-01 and 2199-12-31")
    return value


SafeText = Annotated[str, Strict(), StringConstraints(pattern=r"^[^\x00]*$")]
"""Any text but NUL (U+0000), which PostgreSQL cannot store."""

Id = Annotated[str, Strict(), StringConstraints(pattern=r"^[\p{L}\p{N}._:~@+=-]{1,128}$")]
"""1 to 128 letters, digits or ``. _ : ~ @ + = -``; chosen by the sender."""

Name = Annotated[SafeText, Field(min_length=1, max_length=500)]
Text = Annotated[SafeText, Field(max_length=10_000)]
Label = Annotated[SafeText, Field(min_length=1, max_length=200)]
Currency = Annotated[str, Strict(), StringConstraints(pattern=r"^[A-Z]{3}$"), Field(examples=["EUR"])]
"""ISO 4217 alphabetic code."""

Email = Annotated[str, Strict(), StringConstraints(pattern=r"^[^\s@\x00]+@[^\s@\x00]+\.[^\s@\x00]+$", max_length=320)]
Amount = Annotated[int, Strict(), Field(ge=0, le=MAX_AMOUNT)]
"""Money in minor units (cents)."""

Quantity = Annotated[int, Strict(), Field(gt=0, le=MAX_QUANTITY)]
Timestamp = Annotated[datetime, BeforeValidator(_only_rfc3339), AfterValidator(_in_utc)]
"""A point in time: RFC 3339 on the wire, UTC in memory, between 1970 and 2199."""


class CommandData(BaseModel):
    """What a command asks for. Unknown fields are refused, so that a misspelt option is never silently ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


EventTime = Annotated[datetime, msgspec.Meta(tz=True)]
"""A ``Timestamp`` as events carry it."""


class EventPart(msgspec.Struct, frozen=True, gc=False):
    """A piece of what has happened. Unknown fields are ignored, so that a reader survives a newer writer."""


class EventData(EventPart, frozen=True, gc=False):
    """What has happened. Raises ValueError (on the wire: msgspec.ValidationError, which is one) for a time that is no Timestamp."""

    def __post_init__(self) -> None:
        for name in _times_of(type(self)):
            time: datetime = getattr(self, name)
            if time.tzinfo is not UTC or not EARLIEST <= time < LATEST:
                msgspec.structs.force_setattr(self, name, _in_utc(time))


@cache
def _times_of(cls: type[EventData]) -> tuple[str, ...]:
    return tuple(name for name, kind in get_type_hints(cls, include_extras=True).items() if kind is EventTime)
