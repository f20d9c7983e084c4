"""The ingress as its documentation shows it: each command's body, from its contract, the headers, and every answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import (
    Example,
    OpenAPIMediaType,
    OpenAPIType,
    Operation,
    Parameter,
    RequestBody,
    Schema,
    Tag,
)

from shared.contracts.registry import COMMANDS
from shared.contracts.values import CommandData
from shared.http.problems import MEDIA_TYPE, ProblemDocument
from shared.messages.envelope import CONTENT_TYPE
from shared.messages.outcomes import OutcomeEnvelope

TAG: Final = "commands"
TAGS: Final = [Tag(name=TAG)]
DESCRIPTION: Final = """\
Commands over HTTP, for senders that do not speak AMQP. A command is decided once, whatever it is sent by and however often: it is named
by `Tidemark-Source` and `Idempotency-Key`, and its outcome stays at the `Location` of the answer.

Errors are problem+json (RFC 9457). A refusal has the same `code` as the outcome that others get over RabbitMQ.
"""
COMMAND_TYPE: Final = "orders.place-order"
COMMAND_ID: Final = "pay-o-1"
_PATIENTLY: Final = " Retry-After says when to come again."


def _problem(description: str) -> ResponseSpec:
    return ResponseSpec(ProblemDocument, description=description, media_type=MEDIA_TYPE, generate_examples=False)


def _outcome(description: str) -> ResponseSpec:
    return ResponseSpec(OutcomeEnvelope, description=description, media_type=CONTENT_TYPE, generate_examples=False)


_UNREADABLE: Final = _problem("Outcomes cannot be read, or the broker cannot be reached." + _PATIENTLY)
SEND_ANSWERS: Final = {
    200: _outcome("The outcome, where `Prefer: wait` asked for it: the command was accepted."),
    400: _problem("The body is not one JSON object, or a parameter is malformed."),
    404: _problem("There is no such command, or nothing of that id for it to be about."),
    408: _problem("The body did not arrive in time."),
    409: _problem("The command was refused; `code` says why."),
    413: _problem("The body is larger than a message may be."),
    415: _problem("The body is not application/json."),
    422: _problem("The command is not valid, or its id was used for another one."),
    503: _UNREADABLE,
}
OUTCOME_ANSWERS: Final = {
    200: _outcome("The outcome: accepted or rejected."),
    202: ResponseSpec(
        dict[str, str],
        description="There is none yet, for a fault of ours; `reason` says which." + _PATIENTLY,
        generate_examples=False,
    ),
    400: _problem("The request is malformed."),
    409: _problem("Several services have sent a command with this id: name one in `source`."),
    404: _problem("None is known: it has not been decided yet, or never came." + _PATIENTLY),
    503: _UNREADABLE,
}


@dataclass
class SendOperation(Operation):
    """What the handler reads by itself: the body, one shape for each command, and the headers."""

    def __post_init__(self) -> None:
        self.parameters = [
            *(self.parameters or []),
            _header("Idempotency-Key", "The command's id; one is made where it is missing.", COMMAND_ID),
            _header("Tidemark-Source", "The service that sends; with the id it names the command.", "shop"),
            _header("Prefer", "`wait=SECONDS`, at most 30: wait for the outcome.", "wait=5"),
            _header("traceparent", "W3C trace context, carried along with the command.", None),
        ]
        bodies: Any = {"oneOf": [{**_body_schema(data), "title": name} for name, data in _example_first()]}
        self.request_body = RequestBody({"application/json": OpenAPIMediaType(schema=bodies)}, required=True)


def _header(name: str, description: str, example: str | None) -> Parameter:
    examples = {name: Example(value=example)} if example else None
    return Parameter(name, "header", Schema(type=OpenAPIType.STRING), description=description, examples=examples)


def _example_first() -> list[tuple[str, type[CommandData]]]:
    """All commands, that of the example first: documentation shows the first body."""
    return sorted(COMMANDS.items(), key=lambda item: item[0] != COMMAND_TYPE)


def _body_schema(data: Any) -> Mapping[str, Any]:
    """The contract's schema, with what it refers to written out."""
    schema: dict[str, Any] = data.model_json_schema()
    definitions = schema.pop("$defs", {})

    def written_out(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return written_out(definitions[node["$ref"].rpartition("/")[2]])
            return {name: written_out(value) for name, value in node.items()}
        return [written_out(value) for value in node] if isinstance(node, list) else node

    found: Mapping[str, Any] = written_out(schema)
    return found
