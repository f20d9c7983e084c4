"""Packs commands into messages: up to a hundred of one type in each, so that a bulk sender puts little load on the broker.

A batch never holds the same command id twice, so each of its outcomes belongs to exactly one of its commands.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from shared.messages.envelope import BATCH_CONTENT_TYPE, CONTENT_TYPE, MAX_BATCH, pack

MAX_BATCH_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class CommandMessage:
    """One command on the wire: the serialised CloudEvents envelope, and the attributes that sending needs.

    Nothing is validated here on purpose: the command service decides whether a command is valid.
    """

    id: str
    type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class CommandBatch:
    """Commands of one type in one message, in order."""

    type: str
    commands: tuple[CommandMessage, ...]

    @property
    def body(self) -> bytes:
        """A single command in the structured form, several in the batch form."""
        return self.commands[0].body if len(self.commands) == 1 else pack([command.body for command in self.commands])

    @property
    def content_type(self) -> str:
        return CONTENT_TYPE if len(self.commands) == 1 else BATCH_CONTENT_TYPE


def command_message(
    type_: str, command_id: str, data: Mapping[str, Any], *, source: str, subject: str | None = None
) -> CommandMessage:
    """A command in its CloudEvents envelope. ``command_id`` is the idempotency key: the same id and data may be sent again."""
    envelope = {
        "specversion": "1.0",
        "id": command_id,
        "source": source,
        "type": type_,
        "datacontenttype": "application/json",
        "data": data,
    }
    if subject is not None:
        envelope["subject"] = subject
    return CommandMessage(command_id, type_, msgspec.json.encode(envelope))


def batches(
    commands: Iterable[CommandMessage], *, most: int = MAX_BATCH, most_bytes: int = MAX_BATCH_BYTES
) -> Iterator[CommandBatch]:
    """Pack consecutive commands of one type together, in order; lazily, with one batch in memory at a time."""
    waiting: list[CommandMessage] = []
    ids: set[str] = set()
    size = 0
    for command in commands:
        full = len(waiting) == most or size + len(command.body) > most_bytes
        if waiting and (full or command.type != waiting[0].type or command.id in ids):
            yield CommandBatch(waiting[0].type, tuple(waiting))
            waiting, ids, size = [], set(), 0
        waiting.append(command)
        ids.add(command.id)
        size += len(command.body)
    if waiting:
        yield CommandBatch(waiting[0].type, tuple(waiting))
