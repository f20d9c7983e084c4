"""JSON bodies of requests: declared as such, one object, no key twice, nested no deeper than the parser allows.

A browser sends a form, or text, for a page of any origin without asking; ``application/json`` it does not (CSRF).

Problem
├── 415 unsupported-media-type    there is a body, and it is not declared as application/json
└── 400 malformed-message         it is not one JSON object
"""

from typing import Any, Final

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.handlers import BaseRouteHandler

from shared.http.problems import Problem
from shared.messages.envelope import EnvelopeError, parse

MEDIA_TYPE: Final = "application/json"
_CHARSETS: Final = frozenset({"", "utf-8", "utf8"})


async def require_json(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """A guard for every route. Raises Problem for a body that is not declared as JSON."""
    if connection.scope["type"] == ScopeType.HTTP and has_body(connection.scope["headers"]):
        types = connection.headers.getall("content-type", [])
        if len(types) != 1 or not _is_json(types[0]):
            detail = f"a body has to be declared as {MEDIA_TYPE}: {', '.join(types)[:100] or 'nothing'} came"
            raise Problem(detail, status=415, code="unsupported-media-type")


def has_body(headers: Any) -> bool:
    """Whether the head of a request announces a body."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0 ") != b"")
        for name, value in headers
    )


async def json_object(request: Request[Any, Any, Any], *, exact: bool = False) -> dict[str, Any]:
    """The body; ``exact``: numbers with a fraction or an exponent as Decimals. Raises Problem."""
    try:
        parsed = parse(await request.body(), exact=exact)
    except EnvelopeError as error:
        raise Problem(f"the body is {error}", status=400, code="malformed-message") from error
    if not isinstance(parsed, dict):
        raise Problem("the body must be one JSON object", status=400, code="malformed-message")
    return parsed


def _is_json(content_type: str) -> bool:
    media_type, *parameters = content_type.split(";")
    charset = next(
        (value for name, _, value in (each.partition("=") for each in parameters) if name.strip().lower() == "charset"),
        "",
    )
    return media_type.strip().lower() == MEDIA_TYPE and charset.strip().strip('"').lower() in _CHARSETS
