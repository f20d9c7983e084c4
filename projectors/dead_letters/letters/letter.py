"""An incoming dead letter: one event, one command, or bytes that are neither. PostgreSQL can store all of its values."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, NamedTuple

from shared.privacy.command_bodies import texts_of_command

COMMANDS: Final = "commands"
"""The origin of dead commands; every other origin is a projector's name."""


class Incoming(NamedTuple):
    """A row of the type ``incoming`` (``migrations/0001_operations.sql``), field by field."""

    origin: str
    identity: bytes
    stream: str | None
    version: int | None
    type: str | None
    command_id: str | None
    reason: str
    exception: str
    fingerprint: str
    attempts: int
    first_failed_at: datetime
    failed_at: datetime
    seen: int | None
    trace_id: str | None
    routing_key: str
    reply_to: str | None
    correlation_id: str | None
    content_type: str
    body: bytes
    headers: str
    """A JSON object."""
    trace: str

    @property
    def key(self) -> tuple[str, bytes]:
        return self.origin, self.identity


@dataclass(frozen=True, slots=True)
class EventKey:
    """A stream and the version of an event in it."""

    stream: str
    version: int


def event_identity(stream: str, version: int) -> bytes:
    """Each event is one letter, however often it fails."""
    return _digest(b"event", stream.encode("utf-8", "replace"), str(version).encode())


def command_identity(envelope: Mapping[str, Any]) -> bytes | None:
    """Commands with the same source, id and content are the same letter; None for a command without an id.

    Personal texts make no difference here: they are sealed anew each time, and a digest of them in clear would outlive an erasure
    (``projectors.dead_letters.sealing`` tells them apart).
    """
    if not isinstance(envelope.get("id"), str):
        return None
    asked = [envelope.get(name) for name in ("source", "id", "type", "subject", "expectedversion", "data")]
    if texts := texts_of_command(envelope):
        asked[-1] = {**envelope["data"], **dict.fromkeys(texts, "")}
    try:
        return _digest(b"command", json.dumps(asked, sort_keys=True).encode("utf-8", "replace"))
    except (ValueError, TypeError, RecursionError):
        return None


def content_identity(body: bytes) -> bytes:
    """Messages without other identity are the same letter if their bytes are equal."""
    return _digest(b"content", body)


def _digest(*parts: bytes) -> bytes:
    digest = sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()
