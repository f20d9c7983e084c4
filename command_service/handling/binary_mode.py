"""Converts a CloudEvent in binary mode to the structured form: attributes from the headers, data from the body.

Header names are those of the CloudEvents SDKs for RabbitMQ (``ce-id``), or those of the AMQP 1.0 binding, whose application
properties RabbitMQ converts to headers (``cloudEvents:id``, ``cloudEvents_id``).

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/amqp-protocol-binding.md#31-binary-content-mode
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from shared.contracts.registry import EXACT_NUMBERS
from shared.messages.envelope import EnvelopeError, parse

_HEADER: Final = re.compile(r"(?:ce[-_]|cloudevents[:_])(.+)", re.IGNORECASE | re.DOTALL)
_INTEGER: Final = re.compile(r"-?[0-9]{1,19}")


def structured(body: bytes, headers: Mapping[str, Any], content_type: str) -> dict[str, Any] | None:
    """The envelope as plain JSON values; None if the message is not in binary mode.

    It is in binary mode if its content type is not CloudEvents' own and a header has the ``specversion``.
    """
    if not headers or content_type.lower().startswith("application/cloudevents"):
        return None
    attributes = {
        named[1].lower(): _value(value) for name, value in headers.items() if (named := _HEADER.fullmatch(name))
    }
    if "specversion" not in attributes:
        return None
    if isinstance(version := attributes.get("expectedversion"), str) and _INTEGER.fullmatch(version):
        attributes["expectedversion"] = int(version)  # the binding makes all headers strings
    return attributes | ({"data": _data(body, exact=attributes.get("type") in EXACT_NUMBERS)} if body else {})


def _value(value: Any) -> Any:
    """The value for JSON; one that JSON lacks becomes a string, which validation refuses or ignores like any wrong value."""
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, str | bool | int | None) else str(type(value))


def _data(body: bytes, *, exact: bool) -> Any:
    try:
        return parse(body, exact=exact)
    except EnvelopeError:
        return body.decode("utf-8", "backslashreplace")
