"""Parsing messages: each becomes commands, which get an outcome, or an undecodable part, which cannot.

A command with a usable ``id`` and ``source`` always gets a durable outcome, such as the refusal ``unknown-command`` or
``validation-failed``. Without them there is no idempotency key: it cannot have a durable outcome, and goes to ``commands.dead``.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

import msgspec
from pydantic import ValidationError
from pydantic_core import to_json

from command_service.domain.aggregate import Aggregate
from command_service.domain.aggregates import BY_COMMAND
from command_service.handling import binary_mode
from shared.contracts.registry import COMMANDS, EXACT_NUMBERS
from shared.contracts.validation_errors import describe, printable, sentence, shown
from shared.contracts.values import CommandData
from shared.messages.envelope import MAX_BATCH, MAX_MESSAGE_BYTES, CommandEnvelope, EnvelopeError, is_batch, split

CommandKey = tuple[str, str]
"""(source, id): the idempotency key of a command."""

MAX_REFUSED: Final = 1000
"""A batch that is too large is refused part by part up to this many parts, otherwise as a whole."""
_CONTENT: Final = ("type", "subject", "expectedversion", "data")
MAX_SHOWN: Final = 200

MALFORMED: Final = "malformed-message"
TOO_LARGE: Final = "message-too-large"


@dataclass(frozen=True, slots=True)
class Invalid:
    """Why a command with a valid envelope is refused without a decision."""

    code: str
    message: str
    errors: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Held:
    """Why a command is not tried: it is a dead letter, and has no outcome yet."""

    reason: str


@dataclass(frozen=True, slots=True)
class Task:
    """A valid command's content: ``data`` to be decided by ``aggregate`` on ``stream``."""

    aggregate: Aggregate
    stream: str
    data: CommandData


@dataclass(frozen=True, slots=True)
class Command:
    """One command with a valid envelope. ``digest`` detects another body under the same key."""

    envelope: CommandEnvelope
    digest: bytes
    task: Task | Invalid | Held
    correlation_id: str | None
    is_unreadable: bool = False
    """Whether its personal texts cannot be opened any more: then ``digest`` is not that of the command as it was sent."""

    @property
    def key(self) -> CommandKey:
        return self.envelope.source, self.envelope.id


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A message, or one element of a batch, that cannot have a durable outcome. ``body``: as received, or as JSON."""

    body: bytes
    code: str
    message: str
    command_id: str = ""
    command_type: str = ""
    errors: tuple[dict[str, Any], ...] = ()
    is_dead_letter: bool = True
    """Whether it becomes a dead letter. False: the dead letter of another part includes it."""


@dataclass(frozen=True, slots=True)
class Message:
    """The content of one message, in order. ``batch``: it is in the batch form, and so is the reply."""

    parts: tuple[Command | Undecodable, ...]
    batch: bool


def read(
    body: bytes, correlation_id: str | None = None, *, headers: Mapping[str, Any] | None = None, content_type: str = ""
) -> Message:
    """Parse a message. Never raises: every error becomes a part that describes it."""
    if len(body) > MAX_MESSAGE_BYTES:
        return _unreadable(body, TOO_LARGE, f"a message may have {MAX_MESSAGE_BYTES} bytes, this has {len(body)}")
    if correlation_id is not None and "\x00" in correlation_id:
        correlation_id = None  # PostgreSQL cannot store it in events; the reply has it
    binary = binary_mode.structured(body, headers or {}, content_type)
    if binary is not None:
        return Message((_part(binary, None, correlation_id),), batch=False)
    try:
        elements = split(body, EXACT_NUMBERS)
    except EnvelopeError as error:
        return _unreadable(body, MALFORMED, str(error))
    if len(elements) > MAX_BATCH:
        return _too_many(elements, body)
    whole = body if len(elements) == 1 else None
    return Message(tuple(_part(each, whole, correlation_id) for each in elements), is_batch(body))


def digest_of(envelope: CommandEnvelope) -> bytes:
    """SHA-256 of the command's content; independent of its time, source and trace, and of the order of its keys.

    A number that is parsed exactly has the digest of its text.
    """
    return _digest((envelope.type, envelope.subject, envelope.expectedversion, envelope.data))


def validate(envelope: CommandEnvelope) -> Task | Invalid:
    """The command's content, validated against its type's contract."""
    contract = COMMANDS.get(envelope.type)
    if contract is None:
        return _unknown(envelope.type)
    try:
        data = contract.model_validate(envelope.data)
    except ValidationError as error:
        return _invalid(describe(error, contract))
    aggregate = BY_COMMAND[contract]
    own = aggregate.id_in(data)
    if own is not None and envelope.subject is not None and own != envelope.subject:
        return _wrong_subject(f"the subject is {envelope.subject!r}, but the data is about {own!r}")
    subject = own or envelope.subject
    if subject is None:
        return _wrong_subject("a subject is needed: the id of what the command is about")
    return Task(aggregate, f"{aggregate.kind}/{subject}", data)


def _part(element: Any, body: bytes | None, correlation_id: str | None) -> Command | Undecodable:
    """``body``: the message's, if this is its only part."""
    try:
        try:
            envelope = CommandEnvelope.model_validate(element)
        except ValidationError as error:
            return _refused_command(element, body, error, correlation_id)
        return Command(envelope, digest_of(envelope), validate(envelope), correlation_id)
    except (ValueError, RecursionError) as error:  # a number that cannot be digested
        return _malformed(element, body, [{"field": "data", "message": str(error)[:200]}])


def _refused_command(
    element: Any, body: bytes | None, error: ValidationError, correlation_id: str | None
) -> Command | Undecodable:
    """A command with an invalid envelope: refused under its own id and source, if these are valid."""
    errors = describe(error)
    wrong = {str(each["loc"][0]) for each in error.errors(include_url=False, include_input=False) if each["loc"]}
    if not wrong or wrong & {"id", "source"}:
        return _malformed(element, body, errors)
    command_type = _short_text(element.get("type"))
    known = "type" in wrong or command_type in COMMANDS
    envelope = CommandEnvelope.model_construct(
        id=element["id"],
        source=element["source"],
        type=command_type,
        subject=None if "subject" in wrong else element.get("subject"),
        data={},
    )
    others = {name: element[name] for name in sorted(wrong.difference(_CONTENT)) if name in element}
    digest = _digest((*map(element.get, _CONTENT), *([others] if others else [])))
    return Command(envelope, digest, _invalid(errors) if known else _unknown(command_type), correlation_id)


def _digest(asked: Sequence[Any]) -> bytes:
    try:
        canonical = msgspec.json.encode(asked, order="deterministic")
    except OverflowError:  # an integer beyond 64 bits: the contract will refuse it, but the command needs a digest
        canonical = json.dumps(asked, sort_keys=True, default=str).encode()
    return hashlib.sha256(canonical).digest()


def _malformed(element: Any, body: bytes | None, errors: list[dict[str, str]]) -> Undecodable:
    return _undecodable(element, body, MALFORMED, f"not a command envelope: {sentence(errors)}", errors)


def _undecodable(
    element: Any,
    body: bytes | None,
    code: str,
    message: str,
    errors: Sequence[dict[str, str]] = (),
    *,
    is_dead_letter: bool = True,
) -> Undecodable:
    """With id and type as far as they can be read: the id unchanged, so that the sender recognises it."""
    known = element if isinstance(element, dict) else {}
    id_ = known.get("id")
    command_id = id_[:MAX_SHOWN] if isinstance(id_, str) else ""
    came = to_json(element) if body is None else body
    return Undecodable(came, code, message, command_id, _short_text(known.get("type")), tuple(errors), is_dead_letter)


def _too_many(elements: Sequence[Any], body: bytes) -> Message:
    """Each part is refused and nothing is stored, so that the same ids work in smaller batches. The whole is one dead letter."""
    message = f"a batch may have {MAX_BATCH} commands, this has {len(elements)}: none of them was taken"
    if len(elements) > MAX_REFUSED:
        return _unreadable(body, TOO_LARGE, message)
    first, *rest = elements
    parts = [_undecodable(each, None, TOO_LARGE, message, is_dead_letter=False) for each in rest]
    return Message((_undecodable(first, body, TOO_LARGE, message), *parts), batch=True)


def _unreadable(body: bytes, code: str, message: str) -> Message:
    return Message(parts=(Undecodable(body, code, message),), batch=False)


def _unknown(command_type: str) -> Invalid:
    near = get_close_matches(command_type, COMMANDS, n=3)
    meant = f"; did you mean {' or '.join(near)}?" if near else ""
    return Invalid("unknown-command", f"there is no command {shown(command_type)}{meant}")


def _invalid(errors: list[dict[str, str]]) -> Invalid:
    return Invalid("validation-failed", sentence(errors), tuple(errors))


def _wrong_subject(message: str) -> Invalid:
    return Invalid("validation-failed", f"subject: {message}", ({"field": "subject", "message": message},))


def _short_text(value: Any) -> str:
    return printable(value, MAX_SHOWN) if isinstance(value, str) else ""
