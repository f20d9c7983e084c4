"""The OpenAPI documentation of the ingress: the body of each command, from its contract, the headers, and all responses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import (
    Example,
    OpenAPIFormat,
    OpenAPIMediaType,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    Parameter,
    Reference,
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
STREAMS_TAG: Final = "streams"
TAGS: Final = [Tag(name=TAG), Tag(name=STREAMS_TAG)]
DESCRIPTION: Final = """\
Commands over HTTP, for senders that do not speak AMQP. A command is decided once, however often and over whatever protocol it is sent: its
key is `Tidemark-Source` and `Idempotency-Key`, and its outcome stays at the `Location` of the response.

Errors are problem+json (RFC 9457). A refusal has the same `code` as the outcome sent over RabbitMQ.
"""
COMMAND_TYPE: Final = "orders.place-order"
COMMAND_ID: Final = "pay-o-1"
_RETRY_AFTER: Final = " Retry-After says when to try again."


def problem(description: str) -> ResponseSpec:
    return ResponseSpec(ProblemDocument, description=description, media_type=MEDIA_TYPE, generate_examples=False)


def _outcome(description: str) -> ResponseSpec:
    return ResponseSpec(OutcomeEnvelope, description=description, media_type=CONTENT_TYPE, generate_examples=False)


_UNREADABLE: Final = problem("Outcomes cannot be read, or the broker is unavailable." + _RETRY_AFTER)
SEND_RESPONSES: Final = {
    200: _outcome("The outcome, if requested with `Prefer: wait`: the command was accepted."),
    400: problem("The body is not one JSON object, or a parameter is malformed."),
    404: problem("There is no such command, or nothing with the id that it refers to."),
    408: problem("The body did not arrive in time."),
    409: problem("The command was refused; `code` says why."),
    413: problem("The body is larger than a message may be."),
    415: problem("The body is not application/json."),
    422: problem("The command is not valid, or its id was used for another one."),
    503: _UNREADABLE,
}
OUTCOME_RESPONSES: Final = {
    200: _outcome("The outcome: accepted or rejected."),
    202: ResponseSpec(
        dict[str, str],
        description="There is none yet; `reason` says why: it is `scheduled`, or there was an error inside the service."
        + _RETRY_AFTER,
        generate_examples=False,
    ),
    400: problem("The request is malformed."),
    409: problem("Several services have sent a command with this id: name one in `source`."),
    404: problem("None is known: it is not decided yet, or was never received." + _RETRY_AFTER),
    503: _UNREADABLE,
}

SCHEDULED_RESPONSES: Final = {
    202: ResponseSpec(dict[str, str], description="The worker has not done it yet.", generate_examples=False),
    400: problem("The request is malformed."),
    404: problem("No scheduled command with this id waits for its time."),
    409: problem("It was decided before, or several services have sent a command with this id: name one in `source`."),
    423: problem("An administrator has forbidden operators' acts for now."),
    503: _UNREADABLE,
}


RESCHEDULE_RESPONSES: Final = {
    **SCHEDULED_RESPONSES,
    413: problem("The body is larger than a message may be."),
    415: problem("The body is not application/json."),
    422: problem("The new time is not valid."),
}


@dataclass
class RescheduleOperation(Operation):
    """Adds the body, which the handler reads from the request itself, and the outcome, which is an answer besides the view."""

    def __post_init__(self) -> None:
        time = Schema(
            type=OpenAPIType.STRING,
            format=OpenAPIFormat.DATE_TIME,
            description="RFC 3339: when it is due; if that has passed, it is decided at once.",
        )
        body = Schema(
            type=OpenAPIType.OBJECT,
            properties={"notbefore": time},
            required=["notbefore"],
            additional_properties=False,
        )
        self.request_body = RequestBody({"application/json": OpenAPIMediaType(schema=body)}, required=True)
        done = (self.responses or {})["200"]
        if isinstance(done, OpenAPIResponse) and done.content is not None:
            done.content[CONTENT_TYPE] = OpenAPIMediaType(schema=Reference(ref="#/components/schemas/OutcomeEnvelope"))


@dataclass
class SendOperation(Operation):
    """Adds what the handler reads from the request itself: the body, one schema for each command, and the headers."""

    def __post_init__(self) -> None:
        self.parameters = [
            *(self.parameters or []),
            _header("Idempotency-Key", "The command's id; one is generated if it is missing.", COMMAND_ID),
            _header("Tidemark-Source", "The sending service; with the id it identifies the command.", "shop"),
            _header(
                "Tidemark-Actor",
                "The person or system on whose behalf it is sent (UTF-8, 1 to 200 characters): the events' `actor`, and in audits.",
                "ann@example.org",
            ),
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
    """The contract's schema, with references resolved inline."""
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
