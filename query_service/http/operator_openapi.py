"""Operators' acts as the documentation shows them: the headers and bodies that the handlers read themselves, key first."""

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import (
    OpenAPIMediaType,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    Parameter,
    RequestBody,
    Schema,
    SecurityScheme,
)
from pydantic import BaseModel

from query_service.http.openapi import INVALID, problem_response
from query_service.http.operators import ACTOR, REQUEST_ID
from shared.messages.control import Discard, Edit, Replay, Steer
from shared.views.operations import Done

KEY: Final = "operatorKey"
KEY_SCHEME: Final = SecurityScheme(
    type="http", scheme="bearer", description="The operator's key: TIDEMARK_OPERATOR_KEY of the query service."
)

_PATH: Final = "/dead-letters/replay"
ACTION_RESPONSES: Final = {
    202: ResponseSpec(Done, description="Accepted and on record; it is being done.", generate_examples=False),
    400: INVALID,
    401: problem_response(
        401, "No operator's key, or another.", "operator-key-required", "this is for operators", _PATH
    ),
    403: problem_response(
        403, "The service has no key to compare with.", "acts-are-off", "nobody may act over HTTP here", _PATH
    ),
    404: problem_response(404, "No such letter or job.", "letter-not-found", "there is no letter 17", _PATH),
    409: problem_response(409, "It does not fit how things are.", "nothing-selected", "no live letter fits", _PATH),
    413: problem_response(413, "The body is larger than a message may be.", "message-too-large", "too large", _PATH),
    415: problem_response(
        415, "The body is not JSON.", "unsupported-media-type", "the body is application/json", _PATH
    ),
    422: problem_response(422, "It was understood and is not valid.", "validation-failed", "not valid", _PATH),
    502: problem_response(
        502, "The worker failed at it; its log says how.", "internal-error", "an error inside", _PATH
    ),
    503: problem_response(503, "RabbitMQ is away.", "broker-unavailable", "the broker cannot be reached", _PATH),
    504: problem_response(
        504,
        "The broker keeps the request, and nobody has answered it in time.",
        "no-answer",
        "no dead-letter worker has answered within 10 s",
        _PATH,
    ),
}


@dataclass
class ActionOperation(Operation):
    """An act: its headers, its body without what comes from elsewhere, and the key."""

    act: ClassVar[type[BaseModel]]
    not_in_body: ClassVar[frozenset[str]] = frozenset({"actor"})

    def __post_init__(self) -> None:
        self.parameters = [*(self.parameters or []), *_headers()]
        self.security = [{KEY: []}]
        for response in (self.responses or {}).values():
            if isinstance(response, OpenAPIResponse):
                response.headers = None  # what the other routes send with what they read
        schema: Any = _body_schema(self.act, self.not_in_body)
        body = {"application/json": OpenAPIMediaType(schema=schema)}
        self.request_body = RequestBody(body, required=bool(schema.get("required")))


@dataclass
class ReplayOperation(ActionOperation):
    act = Replay


@dataclass
class DiscardOperation(ActionOperation):
    act = Discard


@dataclass
class EditOperation(ActionOperation):
    act = Edit


@dataclass
class SteerOperation(ActionOperation):
    act = Steer
    not_in_body = frozenset({"actor", "job_id", "to"})


@dataclass
class LetterOperation(Operation):
    """A letter may be read without the key, and has its payload with it."""

    def __post_init__(self) -> None:
        self.security = [{}, {KEY: []}]


def _headers() -> list[Parameter]:
    text = OpenAPIType.STRING
    return [
        Parameter(
            ACTOR,
            "header",
            Schema(type=text, min_length=1, max_length=200),
            description="Who acts: a name for the audit.",
            required=True,
        ),
        Parameter(
            REQUEST_ID,
            "header",
            Schema(type=text, min_length=1, max_length=200),
            description="The request's id: asking twice with it has the effect, and the answer, of once.",
        ),
    ]


def _body_schema(act: type[BaseModel], not_in_body: frozenset[str]) -> dict[str, Any]:
    """The contract's schema without the members that come from headers and path; self-contained."""
    schema = act.model_json_schema()
    definitions = schema.pop("$defs", {})
    schema["properties"] = {
        name: definitions[found["$ref"].rpartition("/")[2]] if "$ref" in found else found
        for name, found in schema["properties"].items()
        if name not in not_in_body
    }
    schema["required"] = [name for name in schema.get("required", []) if name not in not_in_body]
    if not schema["required"]:
        del schema["required"]
    return schema
