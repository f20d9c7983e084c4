"""The AsyncAPI 3 document: the messages that other services may send to and receive from Tidemark, with exchanges, keys and headers.

Source: https://www.asyncapi.com/docs/reference/specification/v3.0.0, and its AMQP 0-9-1 bindings, version 0.3.0.
"""

from importlib.metadata import version
from typing import Any, Final

from command_service.http.contract_schemas import (
    REFERENCE,
    Schema,
    command_payload,
    event_payload,
    outcome_payload,
    schemas,
)
from shared.contracts.registry import COMMANDS, EVENTS
from shared.messages.envelope import BATCH_CONTENT_TYPE, CONTENT_TYPE, MAX_BATCH, MAX_MESSAGE_BYTES
from shared.messages.outcomes import ACCEPTED, PENDING, REJECTED
from shared.messaging import topology

BINDING: Final = "0.3.0"
BATCH: Final = "batch"

_DESCRIPTION: Final = f"""\
Send a command to the exchange `{topology.COMMANDS}`: routing key = its type, a CloudEvents 1.0 envelope as structured JSON, durable,
with publisher confirms, and with the name of your user of the broker as `user-id`, which your `source` is, too, or begins with before
a slash. `source` and `id` together are the idempotency key. The outcome goes to `reply_to`, with your
`correlation_id`. A message has at most {MAX_MESSAGE_BYTES} bytes; up to {MAX_BATCH} commands may travel in one, in the batch form.
"""


def document() -> dict[str, Any]:
    """The whole document, as JSON values. Deterministic."""
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Tidemark", "version": version("tidemark"), "description": _DESCRIPTION},
        "defaultContentType": CONTENT_TYPE,
        "channels": {
            "commands": _channel(
                topology.COMMANDS,
                "{type}",
                "Commands, from any service. The routing key of a batch is the type of its first command.",
                [*COMMANDS, BATCH],
                {"type": {"description": "The command's type.", "enum": list(COMMANDS)}},
            ),
            "replies": {
                "address": None,
                "description": "The sender's own queue, named in `reply_to`: receives outcomes, and notices where there is none yet.",
                "messages": _references([ACCEPTED, REJECTED, PENDING]),
            },
            "outcomes": _channel(
                topology.OUTCOMES,
                topology.rejected_key("{type}"),
                "Every rejection, for services that monitor others' commands.",
                [REJECTED],
                {"type": {"description": "The type of the rejected command."}},
            ),
            "events": _channel(
                topology.EVENTS,
                topology.lane_key("{lane}"),
                "Events of one lane, in order for each stream; one in a message, or several in the batch form.",
                [name for name, _ in EVENTS.values()],
                {"lane": {"description": "CRC-32 of the stream's name modulo the number of lanes."}},
            ),
        },
        "operations": {
            "receiveCommand": {
                "action": "receive",
                "channel": {"$ref": "#/channels/commands"},
                "reply": {
                    "address": {"location": "$message.header#/reply_to"},
                    "channel": {"$ref": "#/channels/replies"},
                },
            },
            "sendRejection": {"action": "send", "channel": {"$ref": "#/channels/outcomes"}},
            "sendEvent": {"action": "send", "channel": {"$ref": "#/channels/events"}},
        },
        "components": {"messages": _messages(), "schemas": schemas()},
    }


def _channel(
    exchange: str, address: str, description: str, messages: list[str], parameters: dict[str, Any]
) -> dict[str, Any]:
    durable = {"name": exchange, "type": "topic", "durable": True, "autoDelete": False}
    return {
        "address": address,
        "description": description,
        "parameters": parameters,
        "messages": _references(messages),
        "bindings": {"amqp": {"is": "routingKey", "exchange": durable, "bindingVersion": BINDING}},
    }


def _references(names: list[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in names}


def _messages() -> dict[str, Any]:
    found = {name: _message(name, command_payload(name), of_command=True) for name in COMMANDS}
    found[BATCH] = _message(
        BATCH,
        {"type": "array", "items": {"$ref": f"{REFERENCE}CommandEnvelope"}, "minItems": 1, "maxItems": MAX_BATCH},
        content_type=BATCH_CONTENT_TYPE,
        of_command=True,
    )
    found[ACCEPTED] = _message(ACCEPTED, outcome_payload(ACCEPTED, "Accepted"))
    found[REJECTED] = _message(REJECTED, outcome_payload(REJECTED, "Rejected"))
    found[PENDING] = _message(PENDING, outcome_payload(PENDING, "Pending"))
    for cls, (name, schema_version) in EVENTS.items():
        found[name] = _message(name, event_payload(name, cls.__name__)) | {"x-schemaversion": schema_version}
    return found


def _message(
    name: str, payload: Schema, *, content_type: str = CONTENT_TYPE, of_command: bool = False
) -> dict[str, Any]:
    message = {"name": name, "contentType": content_type, "payload": payload}
    if of_command:
        properties = {
            "reply_to": {"type": "string", "description": "AMQP property: the queue that receives the outcome."},
            "correlation_id": {"type": "string", "description": "AMQP property: returned with the outcome."},
        }
        message["headers"] = {"type": "object", "properties": properties}
        message["correlationId"] = {"location": "$message.header#/correlation_id"}
    return message
