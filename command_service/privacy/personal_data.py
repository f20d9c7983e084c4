"""Personal data in a batch of commands: whose they are, and what the worker needs to seal them. Pure.

Domain code sees texts in clear. Between the domain and everything that is stored stands ``shared.privacy.sealing``: states are opened when
they are loaded, and sealed when they are written; events are sealed before they are recorded; what is unique is recorded as a keyed hash.
"""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from command_service.domain.aggregate import Refused
from command_service.domain.aggregates import AGGREGATES
from command_service.handling.parsing import Command, Invalid, Task, digest_of, validate
from shared.contracts.registry import PERSONS
from shared.messages.envelope import CommandEnvelope
from shared.privacy.command_bodies import (
    PersonErasedError,
    has_sealed_texts,
    opened_command,
    sealed_command,
    subject_of_command,
    texts_of_command,
)
from shared.privacy.marks import personal_fields, subject_of
from shared.privacy.sealing import KeyMissingError, Keys, texts_of

ERASED: Final = Invalid("subject-erased", "the person has been erased: no data of theirs are taken any more")
SEALED_BY_NOBODY: Final = Invalid(
    "validation-failed", "a text looks as if it were sealed, and is not sealed for its person"
)
PERSONAL_CLAIMS: Final = frozenset(scope for aggregate in AGGREGATES for scope in aggregate.personal_claims)
"""The scopes whose values are personal data."""
HASHED: Final = "hmac:"
"""Begins the value of a claim that is hashed."""
KEYED: Final = b"\x01"
"""Begins a digest that is kept under a key; without one, it is that of the command itself, of 32 bytes."""
NOTHING: Final = KEYED + bytes(32)
"""Kept as the digest of a command of a person who is erased."""


def subjects_in(commands: Iterable[Command], streams: Iterable[str]) -> set[str]:
    """Whose keys a batch needs. ``streams``: those of the commands' streams that exist."""
    named = {subject for command in commands if (subject := _person(command)) is not None}
    return named | {stream for stream in streams if stream.partition("/")[0] in PERSONS}


def require_not_erased(task: Task, keys: Keys) -> None:
    """Raises Refused for personal data of a subject that is erased."""
    subject = _subject_with_texts(task)
    if subject is not None and subject in keys and keys[subject] is None:
        raise Refused(ERASED.code, ERASED.message)


def kept_digest(command: Command, keys: Keys, secret: bytes) -> bytes:
    """The command's digest as it is kept. From one in clear anybody could find out a text by trying.

    Under the key of the person whose texts the command has, it says nothing once that key is destroyed. Where nobody can be found out,
    and the command may have texts all the same, it is under the ``secret`` of the key database.
    """
    if isinstance(command.task, Task) and not has_personal_texts(command):
        return command.digest
    person = _person(command)
    key = keys.get(person, secret) if person is not None else secret
    return keyed_digest(command.digest, key)


def is_same_command(kept: bytes, command: Command, keys: Keys, secret: bytes) -> bool:
    """Whether the digest that is kept is the command's. Of a person who is erased nobody can say any more: then it counts as the same."""
    if not is_keyed(kept):
        return kept == command.digest or command.is_unreadable
    person = _person(command)
    key = keys.get(person) if person is not None else None
    known = [_keyed(command.digest, each) for each in (key, secret) if each is not None]
    return kept in known or command.is_unreadable or (person is not None and person in keys and key is None)


def is_keyed(kept: bytes) -> bool:
    """Whether only one who has the key can compare this digest with another."""
    return len(kept) > len(NOTHING) - len(KEYED)


def keyed_digest(digest: bytes, key: bytes | None) -> bytes:
    """The digest of a command as it is kept. ``key``: of its person; None: who is erased."""
    return NOTHING if key is None else _keyed(digest, key)


def _keyed(digest: bytes, key: bytes) -> bytes:
    return KEYED + hmac.digest(key, digest, "sha256")


def hashed_claim(scope: str, value: str, secret: bytes) -> str:
    """The value by which a claim is recorded: a keyed hash, if it is personal data."""
    if scope not in PERSONAL_CLAIMS or value.startswith(HASHED):
        return value
    return HASHED + hmac.new(secret, f"{scope}\x00{value}".encode(), hashlib.sha256).hexdigest()


def with_sealed_texts(envelope: CommandEnvelope) -> bool:
    """Whether the command comes from where commands are kept: its personal texts are sealed."""
    return has_sealed_texts(_element(envelope))


def subject_of_envelope(envelope: CommandEnvelope) -> str | None:
    return subject_of_command(_element(envelope))


def opened(command: Command, keys: Keys) -> Command:
    """The command with its personal texts in clear, validated; refused if they cannot be opened."""
    envelope = command.envelope
    try:
        element = opened_command(_element(envelope), subject_of_envelope(envelope), keys)
    except PersonErasedError:
        return replace(command, task=ERASED, is_unreadable=True)
    except KeyMissingError:
        return replace(command, task=SEALED_BY_NOBODY)
    envelope = envelope.model_copy(update={"data": element["data"]})
    return replace(command, envelope=envelope, digest=digest_of(envelope), task=validate(envelope))


def sealed(command: Command, keys: Keys) -> Command:
    """The command as it may be kept. Its digest stays."""
    subject = subject_of_envelope(command.envelope)
    if subject is None:
        return command
    element = sealed_command(_element(command.envelope), subject, keys)
    return replace(command, envelope=command.envelope.model_copy(update={"data": element["data"]}))


def has_personal_texts(command: Command) -> bool:
    """Whether a text of the command is personal, also if the command is not valid."""
    return bool(texts_of_command(_element(command.envelope)))


def _person(command: Command) -> str | None:
    """The person whose texts the command has, valid or not."""
    subject = subject_of_envelope(command.envelope)
    return subject if subject is not None and subject.partition("/")[0] in PERSONS else None


def _subject_with_texts(command: Command | Task) -> str | None:
    task = command.task if isinstance(command, Command) else command
    if not isinstance(task, Task) or not personal_fields(type(task.data)) or not texts_of(task.data):
        return None
    return subject_of(type(task.data), task.data, task.stream)


def _element(envelope: CommandEnvelope) -> dict[str, Any]:
    return {"type": envelope.type, "subject": envelope.subject, "data": envelope.data}
