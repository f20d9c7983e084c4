"""The documented responses of routes besides 200, and how the document describes values."""

from dataclasses import dataclass
from decimal import Decimal
from http import HTTPStatus
from typing import Any, Final

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
from litestar.plugins import OpenAPISchemaPlugin, PluginProtocol
from litestar.plugins.pydantic import PydanticPlugin
from litestar.typing import FieldDefinition

from query_service.consistency import tokens
from query_service.consistency.not_met import UnmetDocument
from shared.http import prefer
from shared.http.problems import MEDIA_TYPE, ProblemDocument


class DecimalsAreNumbers(OpenAPISchemaPlugin):
    """Describes decimals as numbers: answers have them as JSON numbers with all their digits. The framework itself would send text."""

    @staticmethod
    def is_plugin_supported_type(value: Any) -> bool:
        return value is Decimal

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: Any) -> Schema:
        return Schema(type=OpenAPIType.NUMBER)


def schema_plugins() -> list[PluginProtocol]:
    """Make the document name and type the fields of models as answers do: by their aliases, and decimals as numbers."""
    return [PydanticPlugin(prefer_alias=True), DecimalsAreNumbers()]


def problem_response(
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


INVALID: Final = problem_response(
    400,
    "A parameter is malformed, out of range, unknown or given twice.",
    "invalid-parameter",
    "limit: Expected `int` <= 200",
    "/orders",
)
_DOWN: Final = problem_response(
    503,
    "The read store behind this route does not answer: Retry-After states when to retry. Or, after an update, the projection lacks what"
    " is asked for until it is rebuilt (`rebuild-required`).",
    "store-unavailable",
    "the summary store is unavailable: it cannot be reached; try again",
    "/orders",
)
_UNCHANGED: Final = ResponseSpec(None, description="Unchanged: If-None-Match named the current ETag.")

_MISSING: Final = problem_response(
    404,
    "The projection has no object with that id.",
    "order-not-found",
    "there is no order o-17, as of the time in Tidemark-As-Of",
    "/orders/o-17",
)
_NOT_SERVING: Final = problem_response(
    503,
    "A read store cannot be reached; the detail states which, and why.",
    "not-serving",
    "search: it cannot be reached",
    "/health/serving",
)
_NOT_READY: Final = problem_response(
    503,
    "A component is stalled, or a read store cannot be reached; the detail states which, and why.",
    "not-ready",
    "summary: queue summary.2 is missing: run `tidemark migrate`",
    "/health/ready",
)

_UNMET: Final = problem_response(
    412,
    "The projection has not applied a version required by Tidemark-Consistency: not within the wait, or it cannot by itself,"
    " because a dead letter holds the stream (`stream-held`) or the write belongs to another epoch (`epoch-changed`).",
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

UNREAD: Final = {304: _UNCHANGED, 400: INVALID}
"""Of a route that answers whether or not its stores do."""
RESPONSES: Final = {**UNREAD, 503: _DOWN}
READ: Final = {**RESPONSES, 412: _UNMET}
READ_ONE: Final = {**READ, 404: _MISSING}


@dataclass
class ReadOperation(Operation):
    """A read from a projection, with the headers that request a consistency."""

    def __post_init__(self) -> None:
        text = Schema(type=OpenAPIType.STRING)
        self.parameters = [
            *(self.parameters or []),
            Parameter(
                tokens.HEADER,
                "header",
                text,
                description="Writes that the response must include: `<kind>/<id>@<version>` as in a command's outcome, several"
                " separated by commas, each optionally followed by `;epoch=<text>`.",
                example="orders/o-17@3",
            ),
            Parameter(
                prefer.HEADER,
                "header",
                text,
                description="`wait=SECONDS` (RFC 7240): how long to wait for those writes, up to the service's limit.",
                example="wait=5",
            ),
        ]
        for status, response in (self.responses or {}).items():
            if isinstance(response, OpenAPIResponse) and status in {"200", "304", "412"}:
                response.headers = {
                    **(response.headers or {}),
                    prefer.APPLIED: OpenAPIHeader(
                        schema=text, description="`wait=SECONDS`: the wait that was applied."
                    ),
                }


LIVENESS: Final = {400: INVALID}
READINESS: Final = {400: INVALID, 503: _NOT_READY}
SERVING: Final = {400: INVALID, 503: _NOT_SERVING}
