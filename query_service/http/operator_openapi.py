"""OpenAPI documentation of operator actions: the headers and bodies, which the handlers read themselves after checking the key."""

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
)
from pydantic import BaseModel

from query_service.http.openapi import INVALID, problem_response
from query_service.http.operators import REQUEST_ID
from shared.http.identities.credentials import ACTOR
from shared.messages.control import Discard, Edit, Replay, Steer
from shared.messages.operator_requests import Annotate
from shared.views.operations import Done

_PATH: Final = "/dead-letters/replay"
ACTION_RESPONSES: Final = {
    202: ResponseSpec(Done, description="Accepted and recorded; it is being carried out.", generate_examples=False),
    400: INVALID,
    404: problem_response(404, "No such letter or job.", "letter-not-found", "there is no letter 17", _PATH),
    409: problem_response(
        409, "The action does not fit the current state.", "nothing-selected", "no live letter matches", _PATH
    ),
    423: problem_response(
        423,
        "An administrator has forbidden operators' acts for now.",
        "read-only",
        "operators' acts are forbidden since 2026-03-01 09:30 UTC by ann: the databases are being moved",
        _PATH,
    ),
    413: problem_response(413, "The body exceeds the maximum message size.", "message-too-large", "too large", _PATH),
    415: problem_response(
        415, "The body is not JSON.", "unsupported-media-type", "the body is application/json", _PATH
    ),
    422: problem_response(422, "The request is well-formed but not valid.", "validation-failed", "not valid", _PATH),
    502: problem_response(
        502, "Who was asked failed; its log has the error.", "internal-error", "an error inside", _PATH
    ),
    503: problem_response(503, "RabbitMQ is unavailable.", "broker-unavailable", "the broker cannot be reached", _PATH),
    504: problem_response(
        504,
        "The broker keeps the request, and who is asked has not replied in time.",
        "no-answer",
        "no dead-letter worker has answered within 10 s",
        _PATH,
    ),
}
ALWAYS_DONE: Final = {status: each for status, each in ACTION_RESPONSES.items() if status != 202}
"""Of an act whose only success is the status that its route declares."""
NEVER_FORBIDDEN: Final = {status: each for status, each in ALWAYS_DONE.items() if status != 423}
"""Of one that is carried out while operators' acts are forbidden, too."""


@dataclass
class ActionOperation(Operation):
    """An operator action: its headers and its body. ``not_in_body``: the members taken from headers and path."""

    act: ClassVar[type[BaseModel]]
    not_in_body: ClassVar[frozenset[str]] = frozenset({"actor", "behind"})

    def __post_init__(self) -> None:
        self.parameters = [*(self.parameters or []), *_headers()]
        for response in (self.responses or {}).values():
            if isinstance(response, OpenAPIResponse):
                response.headers = None  # the application's default headers are those of read routes
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
    not_in_body = frozenset({"actor", "behind", "may"})


@dataclass
class AnnotateOperation(ActionOperation):
    act = Annotate


@dataclass
class SteerOperation(ActionOperation):
    act = Steer
    not_in_body = frozenset({"actor", "behind", "job_id", "to"})


def _headers() -> list[Parameter]:
    text = OpenAPIType.STRING
    return [
        Parameter(
            ACTOR,
            "header",
            Schema(type=text, min_length=1, max_length=200),
            description="The person whom the credential acts for, as it says, for the audit. Required while authentication is off.",
        ),
        Parameter(
            REQUEST_ID,
            "header",
            Schema(type=text, min_length=1, max_length=200),
            description="The request's id. A repeated request with the same id has no further effect and gets the same response.",
        ),
    ]


def _body_schema(act: type[BaseModel], not_in_body: frozenset[str]) -> dict[str, Any]:
    """The contract's schema without the members taken from headers and path; self-contained."""
    schema = act.model_json_schema()
    definitions = schema.pop("$defs", {})
    schema["properties"] = {
        name: _resolved(found, definitions) for name, found in schema["properties"].items() if name not in not_in_body
    }
    schema["required"] = [name for name in schema.get("required", []) if name not in not_in_body]
    if not schema["required"]:
        del schema["required"]
    return schema


def _resolved(node: Any, definitions: dict[str, Any]) -> Any:
    """With what it refers to in its place."""
    if isinstance(node, list):
        return [_resolved(each, definitions) for each in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _resolved(definitions[node["$ref"].rpartition("/")[2]], definitions)
    return {name: _resolved(each, definitions) for name, each in node.items()}
