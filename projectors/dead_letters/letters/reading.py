"""Parses deliveries into letters: every delivery from a dead-letter queue becomes at least one letter. Pure; never raises.

published by Tidemark (tidemark-* headers)    one letter: the event, the command, or the bytes, with the reason of the failure
dead-lettered by the broker (x-death header)  the delivery limit was reached: one letter for each event or command in the message
anything else                                 published to ``dead`` manually: parsed like the broker's
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import to_json

from projectors.dead_letters.letters.fingerprint import bounded, fingerprint
from projectors.dead_letters.letters.letter import (
    COMMANDS,
    EventKey,
    Incoming,
    command_identity,
    content_identity,
    event_identity,
)
from projectors.dead_letters.letters.storable import (
    MAX_TRACE,
    integer,
    json_headers,
    optional_text,
    short_string,
    text,
    timestamp,
)
from shared.messages.envelope import EnvelopeError, ReceivedEvent, split
from shared.messages.lanes import HEADS, HEARTBEAT
from shared.messaging import topology
from shared.messaging.access import sent_by
from shared.messaging.consuming import Delivery
from shared.runtime.reasons import reason

FOREIGN: Final = "not-from-tidemark"
UNREADABLE: Final = "unreadable-letter"
MAX_STREAM: Final = 300

ORIGIN_OF: Final = {topology.dead_queue(origin): origin for origin in (*topology.SUBSCRIBERS, COMMANDS)}
"""Queue → the origin of its letters."""


def parse_letters(delivery: Delivery, now: datetime) -> list[Incoming]:
    """At least one letter, except for heartbeats and heads messages, which carry no events and are ignored."""
    try:
        return list(_parse(delivery, now))
    except Exception as error:  # noqa: BLE001, RUF100 - headers may hold anything; the bytes are stored in any case
        return [unreadable(delivery, error, now)]


def unreadable(delivery: Delivery, error: Exception, now: datetime) -> Incoming:
    """The fallback: a letter with only the bytes and the reason why they could not be parsed."""
    why = text(reason(error))
    return _letter(
        delivery, delivery.body, {}, now, identity=content_identity(delivery.body), reason=UNREADABLE, exception=why
    )


def _parse(delivery: Delivery, now: datetime) -> Iterator[Incoming]:
    headers = delivery.headers
    if "tidemark-reason" in headers:
        yield _worker_letter(delivery, now)
        return
    death = _last_death(headers)
    limit = death.get("reason") in ("delivery_limit", b"delivery_limit")
    reason = topology.DELIVERY_LIMITED if limit else FOREIGN
    most = topology.COMMAND_DELIVERY_LIMIT if ORIGIN_OF[delivery.queue] == COMMANDS else topology.DELIVERY_LIMIT
    message = f"delivered {most + 1} times without being acknowledged" if limit else ""
    at = timestamp(death.get("time")) or now
    keys = death.get("routing-keys")
    key = keys[0] if isinstance(keys, list) and keys else delivery.routing_key
    try:
        elements = split(delivery.body)
    except EnvelopeError as error:
        identity = content_identity(delivery.body)
        yield _letter(delivery, delivery.body, {}, at, identity=identity, reason=reason, exception=str(error), key=key)
        return
    for element in elements:
        known = element if isinstance(element, dict) else {}
        if known.get("type") in (HEARTBEAT, HEADS):
            continue
        body = delivery.body if len(elements) == 1 else to_json(element)
        event_key = None if ORIGIN_OF[delivery.queue] == COMMANDS else _event_key(element)
        identity = _identity(ORIGIN_OF[delivery.queue], event_key, known, body)
        yield _letter(
            delivery, body, known, at, identity=identity, reason=reason, exception=message, event_key=event_key, key=key
        )


def _worker_letter(delivery: Delivery, now: datetime) -> Incoming:
    headers, origin = delivery.headers, ORIGIN_OF[delivery.queue]
    known = _parsed(delivery.body)
    at = timestamp(headers.get("tidemark-failed-at")) or now
    stream = optional_text(headers.get("tidemark-stream"), MAX_STREAM + 1)
    version = integer(headers.get("tidemark-version"), at_least=1)
    event_key = None
    if origin != COMMANDS and stream is not None and len(stream) <= MAX_STREAM and version is not None:
        event_key = EventKey(stream, version)
    exception = text(headers.get("tidemark-exception", ""))
    message = text(headers.get("tidemark-message", ""))
    return _letter(
        delivery,
        delivery.body,
        known,
        at,
        identity=_identity(origin, event_key, known, delivery.body),
        reason=text(headers["tidemark-reason"], 200),
        exception=f"{exception}: {message}" if exception and message else exception or message,
        event_key=event_key,
        key=headers.get("tidemark-routing-key", delivery.routing_key),
    )


def _letter(
    delivery: Delivery,
    body: bytes,
    known: Mapping[str, Any],
    failed_at: datetime,
    *,
    identity: bytes,
    reason: str,
    exception: str,
    event_key: EventKey | None = None,
    key: object = "",
) -> Incoming:
    readable: Mapping[str, Any] = {} if reason == UNREADABLE else delivery.headers
    origin = ORIGIN_OF[delivery.queue]
    if origin == COMMANDS:
        readable = {**readable, topology.SENDER_HEADER: sent_by(delivery.user_id, delivery.headers)}
    trace = text(readable.get("tidemark-trace", ""), MAX_TRACE)
    given = optional_text(readable.get("tidemark-fingerprint"), 4000)
    reason, exception = text(reason, 200), text(exception)
    attempts = integer(readable.get("tidemark-attempts"), at_least=1) or 1
    first = timestamp(readable.get("tidemark-first-failed-at")) or failed_at
    seen = integer(readable.get("tidemark-seen"), at_least=1)
    return Incoming(
        origin=origin,
        identity=identity,
        stream=event_key.stream if event_key else None,
        version=event_key.version if event_key else None,
        type=optional_text(known.get("type"), 200),
        command_id=optional_text(known.get("id"), 200) if origin == COMMANDS else None,
        reason=reason,
        exception=exception,
        fingerprint=bounded(given) if given else fingerprint(reason, exception, trace),
        attempts=min(attempts, 2**31 - 1),
        first_failed_at=min(first, failed_at),
        failed_at=failed_at,
        seen=max(seen or 0, event_key.version) if event_key else None,
        trace_id=_trace_id(known.get("traceparent")),
        routing_key=short_string(key) or "",
        reply_to=_reply_to(readable.get("tidemark-reply-to")) or _reply_to(delivery.reply_to),
        correlation_id=short_string(delivery.correlation_id),
        content_type=short_string(delivery.content_type) or "",
        body=body,
        headers=json_headers(readable),
        trace=trace,
    )


def _identity(origin: str, event_key: EventKey | None, known: Mapping[str, Any], body: bytes) -> bytes:
    if event_key is not None:
        return event_identity(event_key.stream, event_key.version)
    return (command_identity(known) if origin == COMMANDS else None) or content_identity(body)


def _event_key(element: object) -> EventKey | None:
    try:
        envelope = ReceivedEvent.model_validate(element)
    except ValidationError:
        return None
    return EventKey(envelope.subject, envelope.streamversion)


def _parsed(body: bytes) -> Mapping[str, Any]:
    """The envelope in the body; empty if there is none."""
    try:
        elements = split(body)
    except EnvelopeError:
        return {}
    return elements[0] if len(elements) == 1 and isinstance(elements[0], dict) else {}


def _last_death(headers: Mapping[str, Any]) -> Mapping[str, Any]:
    """The latest entry of the broker's ``x-death`` header, which states why it moved the message."""
    deaths = headers.get("x-death")
    return deaths[0] if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict) else {}


def _reply_to(value: object) -> str | None:
    """The reply queue. The direct reply-to pseudo-queue belongs to its publisher; naming it would close the worker's channel."""
    found = short_string(value)
    return None if found == "amq.rabbitmq.reply-to" else found


def _trace_id(traceparent: object) -> str | None:
    parts = traceparent.split("-") if isinstance(traceparent, str) else []
    return optional_text(parts[1], 32) if len(parts) == 4 else None
