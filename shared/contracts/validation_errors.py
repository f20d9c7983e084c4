"""Validation errors worded for the sender: the field, what is allowed, and what was received.

All pydantic errors of contracts are worded here: in outcomes, HTTP problems and on the command line alike. The received value is shown
as far as it helps, at most 40 characters, and always as text that can be stored and printed; never if it is personal data, for outcomes
are kept.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from shared.contracts.values import A_TIME, PATTERNS
from shared.privacy.marks import personal_fields

MAX_ERRORS: Final = 20
MAX_SHOWN: Final = 40

_ALLOWED: Final[Mapping[str, str]] = {
    "model_type": "an object is needed",
    "dict_type": "an object is needed",
    "tuple_type": "a list is needed",
    "list_type": "a list is needed",
    "string_type": "a text is needed",
    "int_type": "a whole number is needed",
    "int_from_float": "a whole number is needed",
    "int_parsing": "a whole number is needed",
    "int_parsing_size": "a whole number of fewer digits is needed",
    "float_type": "a number is needed",
    "float_parsing": "a number is needed",
    "finite_number": "a finite number is needed",
    "bool_type": "true or false is needed",
    "bool_parsing": "true or false is needed",
    "greater_than": "more than {gt} is needed",
    "greater_than_equal": "at least {ge} is needed",
    "less_than": "less than {lt} is needed",
    "less_than_equal": "at most {le} is possible",
    "multiple_of": "a multiple of {multiple_of} is needed",
    "literal_error": "{expected} is needed",
    "enum": "{expected} is needed",
    "datetime_type": A_TIME,
    "datetime_parsing": A_TIME,
    "datetime_from_date_parsing": A_TIME,
    "datetime_object_invalid": A_TIME,
    "string_unicode": "a text in UTF-8 is needed",
    "json_invalid": "JSON is needed",
}
"""Error type → what is allowed, for errors about one value. The received value is appended."""

_MESSAGES: Final[Mapping[str, Callable[[ErrorDetails], str]]] = {
    "missing": lambda _: "is needed, and is missing",
    "string_too_short": lambda error: _at_least(error, "character"),
    "string_too_long": lambda error: _at_most(error, "character"),
    "too_short": lambda error: _at_least(error, "entry", "entries"),
    "too_long": lambda error: _at_most(error, "entry", "entries"),
    "string_pattern_mismatch": lambda error: _with_received(PATTERNS[error["ctx"]["pattern"]], error["input"]),
    "value_error": lambda error: _custom_message(error),
}
"""Error type → the whole message, for all other errors."""

KNOWN: Final = frozenset({*_ALLOWED, *_MESSAGES, "extra_forbidden"})
"""Every error type that is worded here."""


def describe(error: ValidationError, contract: type[BaseModel] | None = None) -> list[dict[str, str]]:
    """``[{field, message}]``, a field being a path like ``lines[3].quantity``, or empty for the whole.

    With the violated ``contract``, the message about an unknown field lists the allowed ones.
    """
    found = error.errors(include_url=False)[:MAX_ERRORS]
    return [{"field": _path(each["loc"]), "message": _message(each, contract)} for each in found]


def sentence(errors: list[dict[str, str]]) -> str:
    """The first of the errors from ``describe``, and the number of the others."""
    first = errors[0]
    field = f"{first['field']}: " if first["field"] else ""
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{field}{first['message']}{more}"


def printable(text: str, most: int = MAX_SHOWN) -> str:
    """The text, at most ``most`` characters, on one line; what cannot be stored or printed is escaped as in Python."""
    cut = text if len(text) <= most else f"{text[:most]}…"
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in cut)


def shown(value: Any) -> str:
    """A value as JSON, or a description of it where it is large."""
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case str():
            return f'"{printable(value)}"' + (f" ({len(value)} characters)" if len(value) > MAX_SHOWN else "")
        case int() if abs(value) >= 10**MAX_SHOWN:
            return f"a number of more than {MAX_SHOWN} digits"
        case int() | float():
            return str(value)
        case dict():
            return "an object"
        case list() | tuple():
            return f"a list of {len(value)}" if value else "an empty list"
        case _:
            return f"a {type(value).__name__}"


class _Personal:
    """Stands for a received value that is personal data: it is not shown, only how long it is."""

    def __init__(self, received: Any) -> None:
        self._length = len(received) if isinstance(received, str | list | tuple) else 0

    def __len__(self) -> int:
        return self._length


def _message(error: ErrorDetails, contract: type[BaseModel] | None) -> str:
    if contract is not None and error["loc"] and error["loc"][0] in personal_fields(contract):
        error = error.copy()
        error["input"] = _Personal(error["input"])
    if error["type"] == "extra_forbidden":
        fields = _fields(error["loc"], contract)
        return "there is no such field" + (f"; there are {', '.join(fields)}" if fields else "")
    if error["type"] in _MESSAGES:
        return _MESSAGES[error["type"]](error)
    needed = _ALLOWED.get(error["type"])
    if needed is None:  # an error type that no contract produces: use the validator's own message
        return printable(error["msg"], 200)
    return _with_received(needed.format_map(error.get("ctx", {})), error["input"])


def _with_received(allowed: str, received: Any) -> str:
    if isinstance(received, _Personal):
        return f"{allowed}; personal data, which are not shown, came"
    kind = "the text " if isinstance(received, str) else ""  # distinguishes "1" from 1
    return f"{allowed}; {kind}{shown(received)} came"


def _custom_message(error: ErrorDetails) -> str:
    words, came = str(error["ctx"]["error"]), error["input"]
    return _with_received(words, came) if isinstance(came, str | int | float | None) else words


def _at_least(error: ErrorDetails, one: str, many: str = "") -> str:
    least = error["ctx"]["min_length"]
    what = f"1 {one} is" if least == 1 else f"{least} {many or one + 's'} are"
    return f"at least {what} needed; {len(error['input']) or 'none'} came"


def _at_most(error: ErrorDetails, one: str, many: str = "") -> str:
    most = error["ctx"]["max_length"]
    what = f"1 {one} is" if most == 1 else f"{most} {many or one + 's'} are"
    return f"at most {what} possible; {len(error['input'])} came"


def _path(loc: tuple[int | str, ...]) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{printable(step)}" for step in loc)
    return "".join(steps).removeprefix(".")


def _fields(loc: tuple[int | str, ...], contract: type[BaseModel] | None) -> list[str]:
    """The fields of the object that contains the unknown field at ``loc``."""
    for step in loc[:-1]:
        if isinstance(step, str):
            contract = _model_in(contract.model_fields[step].annotation) if contract else None
    return list(contract.model_fields) if contract else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _model_in(each))), None)
