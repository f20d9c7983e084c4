"""Inputs as they are kept in a process's history: JSON with the contract's schema versions, so that later code reads them.

An event keeps the schema version of its data; read again, its data are lifted to the current class by the contract's upcasters.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, assert_never

import msgspec

from projectors.processes.process import Act, EventInput, Input, OperatorInput, OutcomeInput, TimerInput
from shared.contracts.registry import EVENTS, event_data

EVENT: Final = "event"
OUTCOME: Final = "outcome"
TIMER: Final = "timer"
OPERATOR: Final = "operator"


def kind_of(given: Input) -> str:
    match given:
        case EventInput():
            return EVENT
        case OutcomeInput():
            return OUTCOME
        case TimerInput():
            return TIMER
        case OperatorInput():
            return OPERATOR
        case unknown:
            assert_never(unknown)


def to_json(given: Input) -> str:
    """Everything but ``id`` and ``at``, which have columns of their own."""
    fields = {name: getattr(given, name) for name in given.__struct_fields__ if name not in ("id", "at")}
    if isinstance(given, EventInput | OutcomeInput) and given.traceparent is None:
        del fields["traceparent"]
    if isinstance(given, EventInput):
        fields["schemaversion"] = EVENTS[type(given.data)][1]
    return msgspec.json.encode(fields).decode()


def from_json(kind: str, input_id: str, at: datetime, body: str) -> Input:
    """Raises what ``event_data`` raises for an event of a contract that is gone; msgspec.ValidationError."""
    fields: Mapping[str, Any] = msgspec.json.decode(body)
    if kind == EVENT:
        data = event_data(fields["type"], fields["schemaversion"], fields["data"])
        traceparent = fields.get("traceparent")
        return EventInput(input_id, at, fields["stream"], fields["version"], fields["type"], data, traceparent)
    if kind == OUTCOME:
        return OutcomeInput(input_id, at, **fields)
    if kind == TIMER:
        return TimerInput(input_id, at, fields["name"])
    return OperatorInput(input_id, at, Act(fields["act"]), fields["actor"], fields["reason"])
