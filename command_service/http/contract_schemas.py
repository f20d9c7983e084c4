"""JSON Schemas of all messages that other services send or receive, generated from the contracts that the code itself uses.

A schema has the name of its class; messages refer to it as ``#/components/schemas/<name>``. A command's schema describes what its sender
may write, an event's or outcome's what its reader receives. A command may also be refused for rules that a schema cannot express.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from shared.contracts.registry import COMMANDS, EVENTS
from shared.messages.envelope import CommandEnvelope
from shared.messages.outcomes import OutcomeEnvelope

REFERENCE: Final = "#/components/schemas/"

Schema = dict[str, Any]


def schemas() -> dict[str, Schema]:
    """Name → schema: the data of commands and events, and the envelopes of commands, events and outcomes."""
    sent: list[type[BaseModel]] = [*COMMANDS.values(), CommandEnvelope]
    _, written = models_json_schema([(model, "validation") for model in sent], ref_template=REFERENCE + "{model}")
    _, read = models_json_schema([(OutcomeEnvelope, "serialization")], ref_template=REFERENCE + "{model}")
    _, events = msgspec.json.schema_components(list(EVENTS), ref_template=REFERENCE + "{name}")
    found: dict[str, Schema] = {}
    for part in (written["$defs"], read["$defs"], events, {"EventEnvelope": EVENT_ENVELOPE}):
        if twice := found.keys() & part.keys():
            raise ValueError(f"two contracts have the name {', '.join(sorted(twice))}")
        found |= part
    return {name: _plain(schema) for name, schema in sorted(found.items())}


def command_payload(command_type: str) -> Schema:
    """A command in its envelope."""
    return _of_type("CommandEnvelope", command_type, COMMANDS[command_type].__name__)


def event_payload(event_type: str, data: str) -> Schema:
    """An event in its envelope; ``data``: the name of its data's schema."""
    return _of_type("EventEnvelope", event_type, data)


def outcome_payload(outcome_type: str, data: str) -> Schema:
    """An outcome in its envelope; ``data``: the name of its data's schema."""
    return _of_type("OutcomeEnvelope", outcome_type, data)


EVENT_ENVELOPE: Final[Schema] = {
    "title": "EventEnvelope",
    "description": "A fact about one stream. `streamversion` counts 1, 2, 3 … without gaps within `subject`.",
    "type": "object",
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "description": "`<stream>@<version>`: the same event always has the same id."},
        "source": {"type": "string"},
        "type": {"type": "string"},
        "subject": {"type": "string", "description": "The stream, for example `orders/o-1`."},
        "time": {"type": "string", "format": "date-time"},
        "datacontenttype": {"const": "application/json"},
        "data": {"type": "object"},
        "streamversion": {"type": "integer", "minimum": 1},
        "schemaversion": {"type": "integer", "minimum": 1, "description": "Of `data`."},
        "causationid": {"type": "string", "description": "The id of the command that caused it."},
        "correlationid": {"type": "string"},
        "traceparent": {"type": "string"},
        "actor": {
            "type": "string",
            "description": "The `actor` of the command that caused it; absent if it names none.",
        },
        "behind": {
            "type": "string",
            "description": "Whom the actor said it acts for, kept as claimed; absent if it said nothing.",
        },
    },
    "required": [
        *("specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data"),
        *("streamversion", "schemaversion", "causationid", "correlationid"),
    ],
}
"""The schema of ``shared.messages.envelope.EventEnvelope``; a test compares the two."""


def _of_type(envelope: str, message_type: str, data: str) -> Schema:
    own = {"type": {"const": message_type}, "data": {"$ref": REFERENCE + data}}
    return {"allOf": [{"$ref": REFERENCE + envelope}, {"type": "object", "properties": own}]}


def _plain(schema: Any) -> Any:
    """The schema without titles generated from field names."""
    if isinstance(schema, Mapping):
        titled = "properties" in schema
        return {
            key: _fields(value) if key == "properties" else _plain(value)
            for key, value in schema.items()
            if key != "title" or titled
        }
    return [_plain(each) for each in schema] if isinstance(schema, list | tuple) else schema


def _fields(properties: Mapping[str, Any]) -> Schema:
    return {name: _plain(schema) for name, schema in properties.items()}
