"""Validates the parameters of requests before any store is read, so that invalid input gets a 400 and never causes a store error.

Ignoring a misspelt filter would give a wrong result that looks right. So unknown parameters are refused, and so are repeated ones.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final

from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.handlers import BaseRouteHandler
from litestar.openapi.spec import Example
from litestar.params import PathParameter, QueryParameter
from pydantic import TypeAdapter, ValidationError

from query_service.http.problems import InvalidParameterError
from shared.contracts.values import Id
from shared.http.identities.guard import NEEDS
from shared.http.query_string import check_query

EARLIEST: Final = datetime(1, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)

TIME_FORMAT: Final = "a date (2026-03-01, midnight UTC) or an RFC 3339 time (2026-03-01T09:30:00Z)"

TimeParameter = Annotated[
    str | None, QueryParameter(max_length=40, description=TIME_FORMAT, examples=[Example(value="2026-03-01")])
]
RequiredTime = Annotated[
    str,
    QueryParameter(max_length=40, description=TIME_FORMAT, examples=[Example(value="2026-03-01T09:30:00Z")]),
]
_ID_FORMAT: Final = "An id, as chosen by the sender of the command: 1 to 128 letters, digits or . _ : ~ @ + = -"
IdParameter = Annotated[str | None, QueryParameter(description=_ID_FORMAT, examples=[Example(value="household-7")])]
OrderId = Annotated[str, PathParameter(description=_ID_FORMAT, examples=[Example(value="basket-31198570044")])]
CustomerId = Annotated[str, PathParameter(description=_ID_FORMAT, examples=[Example(value="household-7")])]
ProductId = Annotated[str, PathParameter(description=_ID_FORMAT, examples=[Example(value="product-1082185")])]
PaymentId = Annotated[str, PathParameter(description=_ID_FORMAT, examples=[Example(value="payment-31198570044")])]
UserId = Annotated[str, PathParameter(description=_ID_FORMAT, examples=[Example(value="user-17")])]
BookingId = Annotated[str, PathParameter(description=_ID_FORMAT, examples=[Example(value="booking-17")])]
DoctorId = Annotated[str, PathParameter(description=_ID_FORMAT, examples=[Example(value="doctor-3")])]
PatientId = Annotated[str, PathParameter(description=_ID_FORMAT, examples=[Example(value="patient-41")])]

LetterId = Annotated[int, PathParameter(ge=1, le=2**63 - 1, description="A dead letter's number.")]
JobId = Annotated[int, PathParameter(ge=1, le=2**63 - 1, description="A replay job's number.")]

_ID: Final[TypeAdapter[str]] = TypeAdapter(Id)
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_SPACED_OFFSET: Final = re.compile(r".*\d \d\d:\d\d", re.ASCII)
_NOT_PARAMETERS: Final = frozenset({"request", "socket", "return"})
UNCHECKED: Final = "unchecked"
"""Key in a handler's ``opt``: neither its path nor its query string is checked, because neither is for this service."""
REPEATABLE: Final = "repeatable"
"""Key in a handler's ``opt``: the parameters that may be repeated."""


async def validate_http_request(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """A guard for every HTTP route. Raises InvalidParameterError.

    WebSocket handlers validate after the handshake, because a client cannot read a refusal before. The guard is ``async`` although it
    awaits nothing: Litestar calls a synchronous guard in a thread, which costs more than the check.
    """
    unchecked = NEEDS not in handler.opt or UNCHECKED in handler.opt  # the answer to OPTIONS takes none
    if connection.scope["type"] == ScopeType.HTTP and not unchecked:
        validate_parameters(connection, handler)


def validate_parameters(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Checks the ids in the path, and the encoding and names of the query string. Raises InvalidParameterError."""
    for name, value in connection.path_params.items():
        parse_id(name, value)
    if query := connection.scope["query_string"]:
        repeatable = handler.opt.get(REPEATABLE, frozenset())
        check_query(query, _query_parameters(handler.fn) - connection.path_params.keys(), repeatable)


def parse_id(name: str, value: str) -> str:
    """The value, if it is an id that the contracts allow. Raises InvalidParameterError: no other id can exist."""
    try:
        return _ID.validate_python(value)
    except ValidationError as error:
        raise InvalidParameterError(name, "an id has 1 to 128 letters, digits or . _ : ~ @ + = -") from error


def parse_date(name: str, value: str) -> date | None:
    """The date, if the value is one and no time. Raises InvalidParameterError if it is not in the calendar."""
    if not _DATE.fullmatch(value):
        return None
    try:
        return date.fromisoformat(value)
    except ValueError as error:
        raise InvalidParameterError(name, f"{value} is not in the calendar") from error


def parse_time(name: str, value: str, form: str = TIME_FORMAT) -> datetime:
    """Parses a date (midnight UTC) or an RFC 3339 time; returns it in UTC. Raises InvalidParameterError, which says the ``form``."""
    text = f"{value}T00:00:00Z" if _DATE.fullmatch(value) else value
    if _TIME.fullmatch(text):
        try:
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise InvalidParameterError(name, f"{value} is not in the calendar") from error
    hint = '; in a URL "+" is written %2B' if _SPACED_OFFSET.fullmatch(value) else ""
    raise InvalidParameterError(name, f"must be {form}{hint}")


_PARAMETERS_OF: dict[Callable[..., Any], frozenset[str]] = {}


def _query_parameters(function: Callable[..., Any]) -> frozenset[str]:
    """The query parameters that a handler takes, by their names in URLs."""
    names = _PARAMETERS_OF.get(function)
    if names is None:
        names = frozenset(name.removesuffix("_") for name in function.__annotations__ if name not in _NOT_PARAMETERS)
        _PARAMETERS_OF[function] = names
    return names
