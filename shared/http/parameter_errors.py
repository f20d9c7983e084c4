"""Messages for malformed URL parameters, worded like those of ``contracts.validation_errors`` for message fields.

Litestar validates parameters with msgspec, whose messages name Python types and regular expressions, and do not list enumeration members.
"""

import re
from collections.abc import Callable
from enum import Enum
from typing import Any, Final, get_args

from litestar import Request
from litestar.typing import FieldDefinition

from shared.contracts.validation_errors import shown
from shared.contracts.values import PATTERNS

_KINDS: Final = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}
_MESSAGES: Final[tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...]] = (
    (re.compile(r"Expected `(\w+)`, got .*"), lambda found: f"{_KINDS.get(found[1], found[1])} is needed"),
    (re.compile(r"Expected `(?:int|float)` >= (.+)"), lambda found: f"at least {found[1]} is needed"),
    (re.compile(r"Expected `(?:int|float)` > (.+)"), lambda found: f"more than {found[1]} is needed"),
    (re.compile(r"Expected `(?:int|float)` <= (.+)"), lambda found: f"at most {found[1]} is possible"),
    (re.compile(r"Expected `(?:int|float)` < (.+)"), lambda found: f"less than {found[1]} is needed"),
    (re.compile(r"Expected `int` that's a multiple of (.+)"), lambda found: f"a multiple of {found[1]} is needed"),
    (re.compile(r"Expected `str` of length >= (\d+)"), lambda found: f"at least {found[1]} characters are needed"),
    (re.compile(r"Expected `str` of length <= (\d+)"), lambda found: f"at most {found[1]} characters are possible"),
    (
        re.compile(r"Expected `str` matching regex '(.+)'"),
        lambda found: PATTERNS.get(found[1], f"{found[1]} is needed"),
    ),
)


def describe_parameter_error(request: Request[Any, Any, Any], key: str, message: str) -> tuple[str, str]:
    """The parameter's name in the URL, and the message: what is allowed, and what was received.

    ``key``: its name in the URL, or that of the handler's argument.
    """
    argument = _argument(request, key)
    name = getattr(argument.kwarg_definition, "name", None) or key if argument else key
    came = _received(request, name)
    for pattern, words in _MESSAGES:
        if found := pattern.fullmatch(message):
            return name, f"{words(found)}{came}"
    if message.startswith("Invalid enum value") and argument:
        return name, f"{' or '.join(_members(argument.raw))} is needed{came}"
    return name, message


def _argument(request: Request[Any, Any, Any], key: str) -> FieldDefinition | None:
    arguments = request.route_handler.parsed_fn_signature.parameters
    named = {getattr(each.kwarg_definition, "name", None): each for each in arguments.values()}
    return arguments.get(key) or named.get(key)


def _received(request: Request[Any, Any, Any], name: str) -> str:
    for given in (request.path_params, request.query_params):
        if name in given:
            return f"; {shown(str(given[name]))} came"
    return ""


def _members(annotation: Any) -> list[str]:
    """The values of the enumeration or literal in the annotation."""
    if isinstance(annotation, str):
        return [annotation]
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [str(member.value) for member in annotation]
    return [value for each in get_args(annotation) for value in _members(each)]
