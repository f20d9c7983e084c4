"""Parses ``Tidemark-Consistency``, the header that states which writes a request must see. Pure.

    Tidemark-Consistency = 1#token            e.g. orders/o-17@3, customers/c-4@1;epoch=2026-11
    token                = kind "/" id "@" version *( OWS ";" OWS "epoch" "=" ( word / quoted-string ) )

An id may contain ``@``, so the version follows the last one. Non-ASCII characters are sent as UTF-8 or percent-encoded; no id
contains ``%``.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from query_service.http.parameters import parse_id
from query_service.http.problems import InvalidParameterError

HEADER: Final = "Tidemark-Consistency"

MAX_TOKENS: Final = 100
MAX_VERSION: Final = 2**53 - 1

_KIND: Final = re.compile(r"[a-z][a-z0-9-]{0,49}", re.ASCII)
_VERSION: Final = re.compile(r"[1-9]\d{0,15}", re.ASCII)
_EPOCH: Final = re.compile(r'epoch=(?:"([^"\\]{1,200})"|([^\s",;\\]{1,200}))', re.IGNORECASE)
_SHAPE: Final = "must be <kind>/<id>@<version>, several separated by commas, each maybe with ;epoch=<text>"


@dataclass(frozen=True, slots=True)
class Token:
    """A write: the data read must include this version of the stream, or a later one; of this epoch, if one is named."""

    stream: str
    version: int
    epoch: str | None = None


def tokens(values: Iterable[str]) -> tuple[Token, ...]:
    """The tokens in the header's values, the highest version of each stream and epoch. Raises InvalidParameterError."""
    found: dict[tuple[str, str | None], Token] = {}
    for text in _elements(values):
        token = _token(text)
        key = token.stream, token.epoch
        if key not in found or found[key].version < token.version:
            found[key] = token
    if len(found) > MAX_TOKENS:
        raise InvalidParameterError(HEADER, f"names more than {MAX_TOKENS} streams")
    return tuple(found.values())


def _elements(values: Iterable[str]) -> Iterator[str]:
    """The list's elements; empty ones are ignored (RFC 9110 §5.6.1)."""
    for value in values:
        try:
            text = value.encode("latin-1").decode()
        except UnicodeError as error:
            raise InvalidParameterError(HEADER, "must be UTF-8") from error
        quoted = False
        start = 0
        for place, character in enumerate(text + ","):
            if character == '"':
                quoted = not quoted
            elif character == "," and (not quoted or place == len(text)):
                if element := text[start:place].strip():
                    yield element
                start = place + 1


def _token(text: str) -> Token:
    name, *parameters = (part.strip() for part in text.split(";"))
    stream, at, version = name.rpartition("@")
    if not (at and _VERSION.fullmatch(version)) or int(version) > MAX_VERSION:
        raise InvalidParameterError(HEADER, _SHAPE)
    named = stream_name(HEADER, _decoded(stream), _SHAPE)
    epoch = None
    for parameter in parameters:
        match = _EPOCH.fullmatch(parameter)
        if match is None or epoch is not None:
            raise InvalidParameterError(HEADER, _SHAPE)
        epoch = match[1] or match[2]
    return Token(named, int(version), epoch)


def stream_name(parameter: str, text: str, shape: str = "must be <kind>/<id>, e.g. orders/o-17") -> str:
    """The text, if it is a valid stream name. Raises InvalidParameterError."""
    kind, slash, id_ = text.partition("/")
    if not slash or not _KIND.fullmatch(kind):
        raise InvalidParameterError(parameter, shape)
    return f"{kind}/{parse_id(parameter, id_)}"


def _decoded(text: str) -> str:
    if "%" not in text:
        return text
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeError as error:
        raise InvalidParameterError(HEADER, "must be UTF-8") from error
