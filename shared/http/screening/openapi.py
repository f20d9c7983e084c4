"""How the OpenAPI document shows the refusals that any request may get before its route is asked: in each operation, once."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final

from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example

from shared.http.problems import MEDIA_TYPE, ProblemDocument


def problem_response(description: str, status: int, code: str, detail: str) -> ResponseSpec:
    """The documentation of a problem, with an example."""
    example = {
        "type": f"urn:tidemark:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": "/orders",
        "code": code,
    }
    return ResponseSpec(
        ProblemDocument,
        generate_examples=False,
        description=description,
        media_type=MEDIA_TYPE,
        examples=[Example(summary=code, value=example)],
    )


_RETRY: Final = "Retry-After states when to go on."
REFUSALS: Final = {
    status: problem_response(description, status, code, detail)
    for status, description, code, detail in (
        (400, "The request is malformed, or has not exactly one valid `Host`.", "invalid-host", "there is no Host"),
        (414, "The path or the query string is too long.", "target-too-long", "a path may have 8192 bytes"),
        (421, "The service does not answer to this `Host`.", "host-not-allowed", "it does not answer to evil.example"),
        (429, f"This identity sends too many requests: {_RETRY}", "rate-limited", "1000 requests a second"),
        (431, "The headers are too large.", "headers-too-large", "all headers together may have 32768 bytes"),
        (
            503,
            f"The service cannot answer now: {_RETRY}",
            "overloaded",
            "the limit of concurrent requests: send it again",
        ),
    )
}


def document_refusals(handlers: Iterable[Any]) -> None:
    """Add to each route what it does not describe itself. Safe to repeat."""
    for handler in handlers:
        if isinstance(handler, HTTPRouteHandler):
            handler.responses = {**REFUSALS, **(handler.responses or {})}
