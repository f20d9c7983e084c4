"""Outcomes of commands: exactly one for each command, durable, and the same when the command is sent again.

An outcome's ``id`` identifies its content within our ``source``, so that deduplication by it loses nothing:

    <source>/<id>/outcome                 the outcome of that command, kept forever (if decided before sources were stored: <id>/outcome)
    <source>/<id>/outcome/<digest>        the refusal of another command with the same key; not kept
    refused/<digest>                      the refusal of a message that is not a command and has no key
    <source>/<id>/pending/<unique>        not an outcome: a notice that there is none yet, and why
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
"""Hexadecimal digits of a SHA-256: 128 bits suffice for uniqueness."""


class Accepted(BaseModel):
    model_config = ConfigDict(frozen=True)

    command_id: str
    command_type: str
    stream: str
    version: int
    """The stream's version after this command: what to require of a read store."""
    events: tuple[str, ...]
    """Types of the resulting events, in order; empty when nothing changed."""
    epoch: str | None = None
    """The epoch of the write database: versions are comparable only within one epoch."""


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
    """There is no outcome yet, because of an error inside the service, or because the command is scheduled; it will follow.

    ``reason``: stable, kebab-case. ``notbefore``: when a scheduled command is due.
    """

    model_config = ConfigDict(frozen=True)

    command_id: str
    command_type: str
    reason: str
    message: str
    notbefore: datetime | None = None


class OutcomeEnvelope(BaseModel):
    """An outcome, or the notice that there is none yet, as sent: CloudEvents, structured JSON."""

    model_config = ConfigDict(frozen=True)

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: Literal["command.accepted", "command.rejected", "command.pending"]
    subject: str | None = None
    time: datetime
    datacontenttype: Literal["application/json"] = "application/json"
    commandsource: str | None = None
    """The ``source`` of the command, which together with ``data.command_id`` identifies it."""
    data: Annotated[Accepted | Rejected | Pending, Field(union_mode="smart")]
    index: int | None = None
    """In the reply to a batch: the command's index in it, from 0. Not part of the stored outcome."""


def at_index(outcome: bytes, index: int) -> bytes:
    """A serialised outcome with its index in the message, otherwise byte for byte as stored."""
    return b'%b,"index":%d}' % (outcome[:-1], index)


def outcome_id(source: str, command_id: str) -> str:
    return f"{source}/{command_id}/outcome"


def reuse_refusal_id(source: str, command_id: str, digest: bytes) -> str:
    """``digest``: that of the refused command, whose key belongs to another command."""
    return f"{outcome_id(source, command_id)}/{digest.hex()[:_DIGITS]}"


def refusal_id(refusal: Rejected, body: bytes, index: int) -> str:
    """``body``: the refused part, at this index of its message. The same refusal of the same bytes there has the same id."""
    return f"refused/{sha256(b'%d %b%b' % (index, refusal.model_dump_json().encode(), body)).hexdigest()[:_DIGITS]}"


def pending_id(source: str, command_id: str) -> str:
    return f"{source}/{command_id}/pending/{uuid4().hex}"
