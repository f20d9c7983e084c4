"""From bytes to commands: every message becomes commands that can be answered, or an undecodable part that cannot.

A command whose envelope is sound always gets a durable outcome, be it the refusal ``unknown-command`` or ``validation-failed``. What
has no sound envelope has no idempotency key either: it cannot have an outcome, and goes to ``commands.dead``.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from pydantic import ValidationError
from pydantic_core import to_json

from command_service.domain.aggregate import Aggregate
from command_service.domain.aggregates import BY_COMMAND
from shared.contracts.envelope import (
    MAX_BATCH,
    MAX_MESSAGE_BYTES,
    CommandEnvelope,
    EnvelopeError,
    describe,
    split,
)
from shared.contracts.registry import COMMANDS
from shared.contracts.values import CommandData

CommandKey = tuple[str, str]
"""(source, id): what names a command."""

MALFORMED: Final = "malformed-message"
TOO_LARGE: Final = "message-too-large"


@dataclass(frozen=True, slots=True)
class Invalid:
    """Why a command with a sound envelope is refused before any decision."""

    code: str
    message: str
    errors: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Held:
    """Why a command is not tried: it is a dead letter, and has no outcome yet."""

    reason: str


@dataclass(frozen=True, slots=True)
class Task:
    """What a valid command asks for: ``data`` decided by ``aggregate`` on ``stream``."""

    aggregate: Aggregate
    stream: str
    data: CommandData


@dataclass(frozen=True, slots=True)
class Command:
    """One command with a sound envelope. ``digest`` tells whether the same key comes with another body."""

    envelope: CommandEnvelope
    digest: bytes
    task: Task | Invalid | Held
    correlation_id: str | None

    @property
    def key(self) -> CommandKey:
        return self.envelope.source, self.envelope.id


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A message, or one element of a batch, that is no command. ``body`` is what came, unchanged or as JSON."""

    body: bytes
    code: str
    message: str
    command_id: str = ""
    command_type: str = ""
    errors: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """What one message held, in order. ``batch``: it came in the batch form and is answered in it."""

    parts: tuple[Command | Undecodable, ...]
    batch: bool


def read(body: bytes, correlation_id: str | None = None) -> Message:
    """Never raises: whatever is wrong becomes a part that says so."""
    if len(body) > MAX_MESSAGE_BYTES:
        return _unreadable(body, TOO_LARGE, f"a message may have {MAX_MESSAGE_BYTES} bytes, this has {len(body)}")
    try:
        elements = split(body)
    except EnvelopeError as error:
        return _unreadable(body, MALFORMED, str(error))
    if len(elements) > MAX_BATCH:
        return _unreadable(body, TOO_LARGE, f"a batch may have {MAX_BATCH} commands, this has {len(elements)}")
    parts = tuple(_parts(elements, body, correlation_id))
    return Message(parts=parts, batch=body.lstrip()[:1] == b"[")


def digest_of(envelope: CommandEnvelope) -> bytes:
    """SHA-256 of what the command asks for; its time, source and trace do not count, nor the order of its keys."""
    asked = (envelope.type, envelope.subject, envelope.expectedversion, envelope.data)
    try:
        canonical = msgspec.json.encode(asked, order="deterministic")
    except OverflowError:  # an integer beyond 64 bits: the contract will refuse it, but the digest must stand
        canonical = json.dumps(asked, sort_keys=True).encode()
    return hashlib.sha256(canonical).digest()


def validate(envelope: CommandEnvelope) -> Task | Invalid:
    """What the command asks for, checked against its type's contract."""
    contract = COMMANDS.get(envelope.type)
    if contract is None:
        return Invalid("unknown-command", f"there is no command {envelope.type!r}")
    try:
        data = contract.model_validate(envelope.data)
    except ValidationError as error:
        errors = describe(error)
        return Invalid("validation-failed", _sentence(errors), tuple(errors))
    aggregate = BY_COMMAND[contract]
    own = aggregate.id_in(data)
    if own is not None and envelope.subject is not None and own != envelope.subject:
        return _wrong_subject(f"the subject is {envelope.subject!r}, but the data is about {own!r}")
    subject = own or envelope.subject
    if subject is None:
        return _wrong_subject("a subject is needed: the id of what the command is about")
    return Task(aggregate, f"{aggregate.kind}/{subject}", data)


def _parts(elements: Any, body: bytes, correlation_id: str | None) -> Iterator[Command | Undecodable]:
    for element in elements:
        try:
            envelope = CommandEnvelope.model_validate(element)
            digest = digest_of(envelope)
        except (ValidationError, ValueError, RecursionError) as error:
            yield _unsound(element, body if len(elements) == 1 else to_json(element), error)
            continue
        yield Command(envelope, digest, validate(envelope), correlation_id)


def _unsound(element: Any, body: bytes, error: Exception) -> Undecodable:
    errors = describe(error) if isinstance(error, ValidationError) else [{"field": "data", "message": str(error)[:200]}]
    known = element if isinstance(element, dict) else {}
    return Undecodable(
        body,
        MALFORMED,
        f"not a command envelope: {_sentence(errors)}",
        command_id=_short_text(known.get("id")),
        command_type=_short_text(known.get("type")),
        errors=tuple(errors),
    )


def _unreadable(body: bytes, code: str, message: str) -> Message:
    return Message(parts=(Undecodable(body, code, message),), batch=False)


def _wrong_subject(message: str) -> Invalid:
    return Invalid("validation-failed", message, ({"field": "subject", "message": message},))


def _sentence(errors: list[dict[str, str]]) -> str:
    first = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{first['field']}: {first['message']}{more}"


def _short_text(value: Any) -> str:
    return value[:200] if isinstance(value, str) else ""
