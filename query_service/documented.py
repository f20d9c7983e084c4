"""What routes may answer besides 200, as their documentation says it."""

from http import HTTPStatus
from typing import Final

from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example

from shared.problems import MEDIA_TYPE, ProblemDocument


def documented(status: int, description: str, code: str, detail: str, path: str) -> ResponseSpec:
    return ResponseSpec(
        ProblemDocument,
        generate_examples=False,
        description=description,
        media_type=MEDIA_TYPE,
        examples=[Example(summary=code, value=_example(status, code, detail, path))],
    )


def _example(status: int, code: str, detail: str, path: str) -> dict[str, object]:
    return {
        "type": f"urn:tidemark:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": path,
        "code": code,
    }


INVALID: Final = documented(
    400,
    "A parameter is malformed, out of range, unknown or given twice.",
    "invalid-parameter",
    "limit: Expected `int` <= 200",
    "/orders",
)
_DOWN: Final = documented(
    503,
    "The read store behind this route does not answer. Retry-After says when to come again.",
    "store-unavailable",
    "the summary store is unavailable: it cannot be reached; try again",
    "/orders",
)
_UNCHANGED: Final = ResponseSpec(None, description="Unchanged: If-None-Match named the current ETag.")

_MISSING: Final = documented(
    404,
    "The projection has nothing of that id.",
    "order-not-found",
    "there is no order o-17, as of the time in Tidemark-As-Of",
    "/orders/o-17",
)
_NOT_READY: Final = documented(
    503,
    "A read store cannot be reached; the detail says which and why.",
    "not-ready",
    "search: it cannot be reached",
    "/health/ready",
)

KEY_ANSWERS: Final = {
    401: documented(
        401,
        "A key came with the request, and it is not the operator's.",
        "operator-key-required",
        "this is not the operator's key",
        "/dead-letters/17",
    ),
    403: documented(
        403,
        "A key came with the request, and the service has none to compare it with.",
        "acts-are-off",
        "nobody may act over HTTP here: the query service has no TIDEMARK_OPERATOR_KEY",
        "/dead-letters/17",
    ),
}

ANSWERS: Final = {304: _UNCHANGED, 400: INVALID, 503: _DOWN}
ANSWERS_FOR_ONE: Final = {**ANSWERS, 404: _MISSING}
LIVENESS: Final = {400: INVALID}
READINESS: Final = {400: INVALID, 503: _NOT_READY}
