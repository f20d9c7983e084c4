"""What routes may answer besides 200, as their documentation says it."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import (
    Example,
    OpenAPIHeader,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    Parameter,
    Schema,
)

from query_service.consistency import tokens
from query_service.consistency.not_met import UnmetDocument
from shared.http import prefer
from shared.http.problems import MEDIA_TYPE, ProblemDocument


def documented(
    status: int,
    description: str,
    code: str,
    detail: str,
    path: str,
    shape: type[ProblemDocument] = ProblemDocument,
    **members: object,
) -> ResponseSpec:
    return ResponseSpec(
        shape,
        generate_examples=False,
        description=description,
        media_type=MEDIA_TYPE,
        examples=[Example(summary=code, value=_example(status, code, detail, path) | members)],
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
_NOT_SERVING: Final = documented(
    503,
    "A read store cannot be reached; the detail says which and why.",
    "not-serving",
    "search: it cannot be reached",
    "/health/serving",
)
_NOT_READY: Final = documented(
    503,
    "Something stands still, or a read store cannot be reached; the detail says what, and why.",
    "not-ready",
    "summary: queue summary.2 is missing: run `tidemark migrate`",
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

_UNMET: Final = documented(
    412,
    "The projection has not come to a version that Tidemark-Consistency asks for: not in the time given, or it cannot by"
    " itself, for a dead letter holds the stream (`stream-held`) or the write belongs to another epoch (`epoch-changed`).",
    "stream-held",
    "the summary projection has orders/o-17 at version 2, not yet at 3; a dead letter holds the stream at version 3:"
    " projection-failed; see /dead-letters/17",
    "/orders/o-17",
    UnmetDocument,
    projection="summary",
    generation=1,
    stream="orders/o-17",
    required=3,
    applied=2,
    lag_seconds=0.4,
    held="dead",
    reason="projection-failed",
    letter_id=17,
    letter="/dead-letters/17",
)

ANSWERS: Final = {304: _UNCHANGED, 400: INVALID, 503: _DOWN}
READ: Final = {**ANSWERS, 412: _UNMET}
READ_ONE: Final = {**READ, 404: _MISSING}


@dataclass
class ReadOperation(Operation):
    """Reading from a projection: what one may ask for besides."""

    def __post_init__(self) -> None:
        text = Schema(type=OpenAPIType.STRING)
        self.parameters = [
            *(self.parameters or []),
            Parameter(
                tokens.HEADER,
                "header",
                text,
                description="Writes that the answer shall have in it: `<kind>/<id>@<version>` as in a command's outcome, several"
                " separated by commas, each maybe followed by `;epoch=<text>`.",
                example="orders/o-17@3",
            ),
            Parameter(
                prefer.HEADER,
                "header",
                text,
                description="`wait=SECONDS` (RFC 7240): how long to wait for those writes, within the service's own bound.",
                example="wait=5",
            ),
        ]
        for status, response in (self.responses or {}).items():
            if isinstance(response, OpenAPIResponse) and status in {"200", "304", "412"}:
                response.headers = {
                    **(response.headers or {}),
                    prefer.APPLIED: OpenAPIHeader(
                        schema=text, description="`wait=SECONDS`: the wait that was granted."
                    ),
                }


LIVENESS: Final = {400: INVALID}
READINESS: Final = {400: INVALID, 503: _NOT_READY}
SERVING: Final = {400: INVALID, 503: _NOT_SERVING}
