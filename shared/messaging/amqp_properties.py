"""Properties of AMQP messages that Python cannot represent are read as far as they can be, and end no connection.

RabbitMQ hands properties on as they came. pamqp, which reads them for aio-pika, raises for a text that is not UTF-8, for a timestamp after
the year 9999 (one in microseconds, say), for headers of unknown types or nested too deep; aiormq then closes the connection. The
message is delivered again and again, with everything that was prefetched beside it, until the delivery limit makes dead letters of them
all. So a text is escaped, such a timestamp is none, and such headers are empty.
"""

from struct import error as StructError
from typing import Any, Final

from pamqp import decode

_UNREADABLE: Final = (ValueError, OverflowError, OSError, TypeError, RecursionError, StructError)


def tolerate() -> None:
    """From now on, in this process. Safe to call again."""
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
