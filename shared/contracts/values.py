"""The scalar types of all contracts: which ids, texts, amounts and times are valid.

They are narrow on purpose: every valid value can be stored in PostgreSQL and Redis, indexed, and sent as JSON
to any language without loss (integers are at most 2**53 - 1, the largest a double holds exactly, RFC 8259 §6).

Commands come from untrusted senders and are validated field by field (pydantic). Events are our own, and read many times more often than
written: they are structs (msgspec), which cost a sixth to read and to write (deploy/decisions/0023).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, ClassVar, Final, get_type_hints
from zoneinfo import ZoneInfo

import msgspec
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Strict,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, PydanticKnownError
from pydantic_core.core_schema import no_info_after_validator_function, no_info_before_validator_function

from shared.contracts.currencies import CURRENCIES

MAX_AMOUNT: Final = 2**53 - 1
MAX_QUANTITY: Final = 10**9
MAX_MESSAGE_BYTES: Final = 1024 * 1024
"""Of a message with commands, envelope included."""
EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)

A_TIME: Final = "a time is RFC 3339 text with a time zone, like 2026-03-01T09:30:00Z"

_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")


def _only_rfc3339(value: Any) -> Any:
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError(A_TIME)
    return value


def _in_utc(value: datetime) -> datetime:
    if value.tzinfo is not UTC:
        try:
            value = value.astimezone(UTC)
        except OverflowError as error:
            raise ValueError("the time must lie between 1970-01-01 and 2199-12-31") from error
    if not EARLIEST <= value < LATEST:
        raise ValueError("the time must lie between 1970-01-01 and 2199-12-31")
    return value


MAX_DECIMAL_DIGITS: Final = 20
"""The most digits of a decimal before its point."""
MAX_DECIMAL_PLACES: Final = 18
"""The most digits of a decimal after its point."""
A_DECIMAL: Final = (
    f"a decimal is a number or its text, like 21.5, with at most {MAX_DECIMAL_DIGITS} digits before"
    f" and {MAX_DECIMAL_PLACES} after the point"
)
_DECIMAL: Final = r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?"
_IS_DECIMAL: Final = re.compile(_DECIMAL)


def _decimal_text(value: Any) -> str:
    """The value as text without exponent, leading or trailing zeros: equal numbers have the same text.

    A float is refused: its digits are no longer those that the sender wrote. Messages are parsed so that none arises (``exact_numbers``).
    """
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError(A_DECIMAL)  # noqa: TRY004 - pydantic words a ValueError, and raises a TypeError
    try:
        text = str(value)
    except ValueError as error:  # an integer of thousands of digits
        raise ValueError(A_DECIMAL) from error
    if not _IS_DECIMAL.fullmatch(text):
        raise ValueError(A_DECIMAL)
    text = format(Decimal(text), "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    whole, _, places = text.lstrip("-").partition(".")
    if len(whole) > MAX_DECIMAL_DIGITS or len(places) > MAX_DECIMAL_PLACES:
        raise ValueError(A_DECIMAL)
    return "0" if text == "-0" else text


def _known_time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:  # not there, not a zone, or a folder of zones
        raise ValueError(A_TIME_ZONE) from error
    return name


def _known_currency(code: str) -> str:
    if code not in CURRENCIES:
        raise ValueError(A_CURRENCY)
    return code


_SAFE: Final = r"^[^\x00]*$"
_ID: Final = r"^[\p{L}\p{N}._:~@+=-]{1,128}$"
_CURRENCY: Final = r"^[A-Z]{3}$"
_EMAIL: Final = r"^[^\s@\x00]+@[^\s@\x00]+\.[^\s@\x00]+$"
_TIME_ZONE: Final = r"^[A-Z][A-Za-z0-9+-]{1,31}(/[A-Za-z0-9_+-]{1,32}){0,2}$"
MONTH: Final = r"^(19[7-9][0-9]|2[01][0-9][0-9])-(0[1-9]|1[0-2])$"
TYPE_NAME: Final = r"^[a-z0-9-]{1,64}(\.[a-z0-9-]{1,64}){1,3}$"

A_CURRENCY: Final = "a currency is its ISO 4217 code: three capital letters, like EUR"
A_TIME_ZONE: Final = "a time zone is its IANA name, like Europe/Berlin, or UTC"

PATTERNS: Final[Mapping[str, str]] = {
    _SAFE: "a text without NUL (U+0000) is needed",
    _ID: "an id has 1 to 128 letters, digits or . _ : ~ @ + = -",
    _CURRENCY: A_CURRENCY,
    _EMAIL: "an e-mail address looks like name@example.org",
    _TIME_ZONE: A_TIME_ZONE,
    MONTH: "a month is YYYY-MM, like 2026-03, from 1970-01 to 2199-12",
    TYPE_NAME: "a command's type looks like orders.place-order: lower-case letters, digits and -, in 2 to 4 parts",
}
"""What each pattern of a contract allows, worded for the sender."""

SafeText = Annotated[str, Strict(), StringConstraints(pattern=_SAFE)]
"""Any text without NUL (U+0000), which PostgreSQL cannot store."""

Id = Annotated[str, Strict(), StringConstraints(pattern=_ID)]
"""1 to 128 letters, digits or ``. _ : ~ @ + = -``; chosen by the sender."""

Actor = Annotated[SafeText, Field(min_length=1, max_length=200)]
"""The person or system that requests something."""

Name = Annotated[SafeText, Field(min_length=1, max_length=500)]
Text = Annotated[SafeText, Field(max_length=10_000)]
Label = Annotated[SafeText, Field(min_length=1, max_length=200)]
Currency = Annotated[
    str,
    Strict(),
    StringConstraints(pattern=_CURRENCY),
    AfterValidator(_known_currency),
    Field(examples=["EUR"]),
]
"""ISO 4217 alphabetic code."""

Email = Annotated[str, Strict(), StringConstraints(pattern=_EMAIL, max_length=320)]
TimeZone = Annotated[
    str,
    Strict(),
    StringConstraints(pattern=_TIME_ZONE),
    AfterValidator(_known_time_zone),
    Field(examples=["Europe/Berlin"]),
]
"""A name in the IANA time zone database, older ones such as Japan and EST5EDT included. ``localtime``, the machine's zone, is none."""

Amount = Annotated[int, Strict(), Field(ge=0, le=MAX_AMOUNT)]
"""Money in minor units (cents)."""

Quantity = Annotated[int, Strict(), Field(gt=0, le=MAX_QUANTITY)]
Timestamp = Annotated[datetime, BeforeValidator(_only_rfc3339), AfterValidator(_in_utc)]
"""A point in time: RFC 3339 on the wire, UTC in memory, between 1970 and 2199."""

DecimalText = Annotated[
    str,
    BeforeValidator(_decimal_text),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "pattern": f"^{_DECIMAL}$"}], "examples": [21.5]}),
]
"""A decimal, kept exactly: a JSON number or its text, as text in its shortest form. Only in commands with ``exact_numbers``."""


@dataclass(frozen=True, slots=True)
class Count:
    """From ``least`` to ``most`` items, counted before they are validated: an invalid item is an error of its own, not a missing item.

    pydantic's own limits count the items left after validation.
    """

    least: int
    most: int
    within: int | None = None
    """The bytes of the message that the items have to fit in, if that limit may be reached first: the error names both."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_before_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(schema) | {"minItems": self.least, "maxItems": self.most}

    def _checked(self, items: Any) -> Any:
        if isinstance(items, list | tuple) and not self.least <= len(items) <= self.most:
            limits = {"field_type": "List", "actual_length": len(items)}
            if len(items) < self.least:
                raise PydanticKnownError("too_short", limits | {"min_length": self.least})
            if self.within is not None:
                raise ValueError(
                    f"at most {self.most} entries are possible, in a message of at most {self.within} bytes; {len(items)} came"
                )
            raise PydanticKnownError("too_long", limits | {"max_length": self.most})
        return items


@dataclass(frozen=True, slots=True)
class MultipleOf:
    """Of a number whose limits are checked first: pydantic itself would ask for a multiple where the number is out of bounds."""

    step: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(schema) | {"multipleOf": self.step}

    def _checked(self, number: int) -> int:
        if number % self.step:
            raise PydanticKnownError("multiple_of", {"multiple_of": self.step})
        return number


class CommandData(BaseModel):
    """The data of a command. Unknown fields are refused, so that a misspelt option is never silently ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    exact_numbers: ClassVar[bool] = False
    """Whether its message is parsed with every digit of its numbers. Numbers of other commands are integers or refused."""


Upcaster = Callable[[Mapping[str, Any]], dict[str, Any]]
"""Converts the JSON data of an event from one schema version to the next."""

EventTime = Annotated[datetime, msgspec.Meta(tz=True)]
"""A ``Timestamp`` in events."""


Fact = str | msgspec.UnsetType
"""A text in events that may be unknown. Unknown is UNSET: absent in JSON rather than null, so that what today's code makes of an event from
before the field equals what was stored then."""


class EventPart(msgspec.Struct, frozen=True, gc=False):
    """A part of an event. Unknown fields are ignored, so that readers tolerate newer writers."""


class EventData(EventPart, frozen=True, gc=False):
    """The data of an event. Raises ValueError (when parsing: msgspec.ValidationError, a subclass) for a time that is no Timestamp."""

    def __post_init__(self) -> None:
        for name in _times_of(type(self)):
            time: datetime = getattr(self, name)
            if time.tzinfo is not UTC or not EARLIEST <= time < LATEST:
                msgspec.structs.force_setattr(self, name, _in_utc(time))


@cache
def _times_of(cls: type[EventData]) -> tuple[str, ...]:
    return tuple(name for name, kind in get_type_hints(cls, include_extras=True).items() if kind is EventTime)
