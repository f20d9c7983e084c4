"""What became of a command: exactly one outcome each, durable, the same again when the command is sent again."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

ACCEPTED: Final[Literal["command.accepted"]] = "command.accepted"
REJECTED: Final[Literal["command.rejected"]] = "command.rejected"


class Accepted(BaseModel):
    model_config = ConfigDict(frozen=True)

    command_id: str
    command_type: str
    stream: str
    version: int
    """The stream's version after this command: what to ask a read store for."""
    events: tuple[str, ...]
    """Types of the events it led to, in order; empty when there was nothing to change."""
    epoch: str | None = None
    """Of the write database: a version means what it says within its epoch alone."""


class Rejected(BaseModel):
    model_config = ConfigDict(frozen=True)

    command_id: str
    command_type: str
    code: str
    """Stable, kebab-case: for programs."""
    message: str
    """For people; may change."""
    errors: tuple[dict[str, Any], ...] = ()


class OutcomeEnvelope(BaseModel):
    """An outcome on the wire: CloudEvents, structured JSON. ``id`` is the command's id with ``/outcome`` behind it."""

    model_config = ConfigDict(frozen=True)

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: Literal["command.accepted", "command.rejected"]
    subject: str | None = None
    time: datetime
    datacontenttype: Literal["application/json"] = "application/json"
    data: Annotated[Accepted | Rejected, Field(union_mode="smart")]
    index: int | None = None
    """In the answer to a batch: the command's place in it, from 0. It is no part of the outcome that is kept."""


def outcome_id(command_id: str) -> str:
    return f"{command_id}/outcome"


def at_index(outcome: bytes, index: int) -> bytes:
    """A serialised outcome with its place in the message, and nothing else changed: what is kept comes again, byte for byte."""
    return b'%b,"index":%d}' % (outcome[:-1], index)
