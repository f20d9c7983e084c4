"""How the OpenAPI document shows the refusals that any request may get before its route is asked: in each operation, once."""

from collections.abc import Iterable
from typing import Any, Final

from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec

from shared.http.problems import MEDIA_TYPE, ProblemDocument


def _refusal(description: str) -> ResponseSpec:
    return ResponseSpec(ProblemDocument, description=description, media_type=MEDIA_TYPE, generate_examples=False)


REFUSALS: Final = {
    400: _refusal("The request is malformed, or has not exactly one valid `Host`."),
    414: _refusal("The path or the query string is too long."),
    421: _refusal("The service does not answer to this `Host`."),
    429: _refusal("This identity sends too many requests: Retry-After states when to go on."),
    431: _refusal("The headers are too large."),
    503: _refusal("The service cannot answer now: Retry-After states when to retry."),
}


def document_refusals(handlers: Iterable[Any]) -> None:
    """Add to each route what it does not describe itself. Safe to repeat."""
    for handler in handlers:
        if isinstance(handler, HTTPRouteHandler):
            handler.responses = {**REFUSALS, **(handler.responses or {})}
