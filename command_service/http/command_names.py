"""Command keys in HTTP: the id in ``Idempotency-Key``, the sending service in ``Tidemark-Source``, both in ``Location``; and the actor.

Non-ASCII ids are received as UTF-8 or percent-encoded (no id contains ``%`` itself), and sent percent-encoded in all headers.
``.`` and ``..`` are valid ids on the bus; in a URL they are path steps, however encoded, so their outcome could not be requested.
"""

import secrets
import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote_to_bytes
from uuid import UUID

from command_service.handling.parsing import CommandKey
from shared.http.problems import FieldError, Problem

SOURCE: Final = "tidemark/http"
"""The source of commands whose sender names none, while authentication is off."""
SOURCE_HEADER: Final = "Tidemark-Source"
ID_HEADER: Final = "Idempotency-Key"
ACTOR_HEADER: Final = "Tidemark-Actor"

_SAFE: Final = ":@+=~._-"
"""What ids may contain besides letters and digits: all of it is allowed unencoded in a path (RFC 3986 §3.3)."""


def given_id(headers: Mapping[str, str]) -> str:
    """The sender's id for its command, or a new one. Raises Problem for one that cannot be part of a URL."""
    given = headers.get(ID_HEADER.lower())
    if not given:
        return new_id()
    try:
        id_ = unquote_to_bytes(given.encode("latin-1")).decode()
    except UnicodeError as error:
        raise _refused("must be UTF-8, or percent-encoded UTF-8") from error
    if id_ in (".", ".."):
        raise _refused(
            f"{id_!r} is a step to another path in a URL, so its outcome could not be asked for: use another id"
        )
    return id_


def claimed_source(headers: Mapping[str, str]) -> str | None:
    """The source that the sender names, if it names one."""
    return _text(headers, SOURCE_HEADER)


def given_actor(headers: Mapping[str, str]) -> str | None:
    """The person or system on whose behalf the command is sent; None: the sender names none."""
    return _text(headers, ACTOR_HEADER)


def _text(headers: Mapping[str, str], name: str) -> str | None:
    given = headers.get(name.lower())
    return None if given is None else given.encode("latin-1").decode(errors="replace")


def location(key: CommandKey) -> str:
    """The URL of the outcome."""
    source, id_ = key
    path = f"/commands/{quote(id_, safe=_SAFE)}"
    return path if source == SOURCE else f"{path}?source={quote(source, safe='')}"


def new_id(now_ms: int | None = None) -> str:
    """A UUIDv7 (RFC 9562 §5.7): 48 bits of milliseconds since 1970, version, variant, and 74 random bits."""
    milliseconds = int(time.time() * 1000) if now_ms is None else now_ms
    random = secrets.randbits(74)
    value = milliseconds << 80 | 0x7 << 76 | (random >> 62) << 64 | 0b10 << 62 | random & (1 << 62) - 1
    return str(UUID(int=value))


def _refused(message: str) -> Problem:
    return Problem(
        f"{ID_HEADER} {message}", status=422, code="validation-failed", errors=[FieldError(ID_HEADER, message)]
    )
