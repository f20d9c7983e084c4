"""AMQP properties that Python cannot represent are decoded as far as possible, and never close the connection.

RabbitMQ passes properties on unchanged. pamqp, which decodes them for aio-pika, raises for text that is not UTF-8, for timestamps after
the year 9999 (for example in microseconds), and for headers of unknown types or with too deep nesting; aiormq then closes the connection.
The message is redelivered, with everything prefetched beside it, until the delivery limit dead-letters them all. So such text is
escaped, such a timestamp becomes None, and such headers become empty.
"""

from struct import error as StructError
from typing import Any, Final

from pamqp import decode

_UNREADABLE: Final = (ValueError, OverflowError, OSError, TypeError, RecursionError, StructError)


def tolerate() -> None:
    """Replace pamqp's decoders in this process. Idempotent."""
    decode.METHODS["shortstr"] = _short_text
    decode.METHODS["timestamp"] = decode.TABLE_MAPPING[b"T"] = _timestamp
    decode.METHODS["table"] = _table


def _short_text(value: bytes) -> tuple[int, str]:
    end = value[0] + 1
    return end, value[1:end].decode("utf-8", "backslashreplace")


def _timestamp(value: bytes) -> tuple[int, Any]:
    try:
        return decode.timestamp(value)
    except _UNREADABLE:
        return 8, None


def _table(value: bytes) -> tuple[int, Any]:
    try:
        return decode.field_table(value)
    except _UNREADABLE:
        return int.from_bytes(value[:4], "big") + 4, {}
