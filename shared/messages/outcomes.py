"""What became of a command: exactly one outcome each, durable, the same again when the command is sent again.

An outcome's ``id`` is unique within our ``source`` for what it says, so that whoever removes duplicates by it loses nothing:

    <source>/<id>/outcome                 the outcome of that command, kept for ever (of one decided before sources were kept: <id>/outcome)
    <source>/<id>/outcome/<digest>        the refusal of another command under the same name; not kept
    refused/<digest>                      the refusal of what is no command, and has no name
    <source>/<id>/pending/<unique>        no outcome: a notice that there is none yet, and why
"""

from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any, Final, Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

ACCEPTED: Final[Literal["command.accepted"]] = "command.accepted"
REJECTED: Final[Literal["command.rejected"]] = "command.rejected"
PENDING: Final[Literal["command.pending"]] = "command.pending"

_DIGITS: Final = 32
"""Of a SHA-256 in hexadecimal: 128 bits are unique enough for a name."""


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


class Pending(BaseModel):
    """There is no outcome, for a reason of ours; it will come. ``reason``: stable, kebab-case."""

    model_config = ConfigDict(frozen=True)

    command_id: str
    command_type: str
    reason: str
    message: str


class OutcomeEnvelope(BaseModel):
    """An outcome on the wire, or the notice that there is none yet: CloudEvents, structured JSON."""

    model_config = ConfigDict(frozen=True)

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: Literal["command.accepted", "command.rejected", "command.pending"]
    subject: str | None = None
    time: datetime
    datacontenttype: Literal["application/json"] = "application/json"
    commandsource: str | None = None
    """The ``source`` of the command: with ``data.command_id`` it names the command."""
    data: Annotated[Accepted | Rejected | Pending, Field(union_mode="smart")]
    index: int | None = None
    """In the answer to a batch: the command's place in it, from 0. It is no part of the outcome that is kept."""


def at_index(outcome: bytes, index: int) -> bytes:
    """A serialised outcome with its place in the message, and nothing else changed: what is kept comes again, byte for byte."""
    return b'%b,"index":%d}' % (outcome[:-1], index)


def outcome_id(source: str, command_id: str) -> str:
    return f"{source}/{command_id}/outcome"


def reuse_refusal_id(source: str, command_id: str, digest: bytes) -> str:
    """``digest``: that of the command which is refused, because another one has its name."""
    return f"{outcome_id(source, command_id)}/{digest.hex()[:_DIGITS]}"


def refusal_id(refusal: Rejected, body: bytes, index: int) -> str:
    """``body``: what was refused, at this place in its message. The same refusal of the same bytes there has the same id."""
    return f"refused/{sha256(b'%d %b%b' % (index, refusal.model_dump_json().encode(), body)).hexdigest()[:_DIGITS]}"


def pending_id(source: str, command_id: str) -> str:
    return f"{source}/{command_id}/pending/{uuid4().hex}"
