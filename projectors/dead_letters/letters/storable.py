"""Converts header values to values that PostgreSQL can store: no NUL, lone surrogates, infinities or unlimited nesting."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

MAX_DEPTH: Final = 6
MAX_TEXT: Final = 2000
MAX_TRACE: Final = 32 * 1024
MAX_BIGINT: Final = 2**63 - 1


def text(value: object, limit: int = MAX_TEXT) -> str:
    """The value as text of at most ``limit`` characters. Bytes are decoded as UTF-8; characters that cannot be stored are replaced."""
    found = value.decode("utf-8", "replace") if isinstance(value, bytes | bytearray) else str(value)
    return found[:limit].replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def optional_text(value: object, limit: int = MAX_TEXT) -> str | None:
    """The value as text; None for other types and for the empty text."""
    return text(value, limit) or None if isinstance(value, str | bytes | bytearray) else None


def short_string(value: object) -> str | None:
    """A text that fits an AMQP short string (255 bytes); otherwise None."""
    found = optional_text(value)
    return found if found is not None and len(found.encode()) <= 255 else None


def integer(value: object, *, at_least: int = 0) -> int | None:
    """An integer that is at least ``at_least`` and fits a bigint; otherwise None."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if at_least <= value <= MAX_BIGINT else None


def timestamp(value: object) -> datetime | None:
    """RFC 3339 text or an AMQP timestamp, in UTC; None for anything else, and for years before 1970 or from 2200 on."""
    found = value
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(found, datetime):
        return None
    try:
        at = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (OverflowError, ValueError):
        return None
    return at if 1970 <= at.year < 2200 else None


def json_headers(headers: Mapping[str, Any]) -> str:
    """Headers as a JSON object."""
    return json.dumps({text(name, 255): _value(value, 1) for name, value in headers.items()})


def _value(value: object, depth: int) -> object:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if depth < MAX_DEPTH:
        if isinstance(value, Mapping):
            return {text(name, 255): _value(item, depth + 1) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [_value(item, depth + 1) for item in value]
    try:
        return text(value, MAX_TRACE)
    except RecursionError:
        return "…"
