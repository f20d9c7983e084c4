"""The names of spans' attributes and operations: here and nowhere else.

Those of messaging follow OpenTelemetry's semantic conventions for messaging and RabbitMQ (v1.40), those of HTTP its conventions for HTTP;
what these have no name for begins with ``tidemark.``. Values are names, ids and counts, never a message's data, as in logs.

    span                     kind      parent                              one for
    POST /commands/{type}    SERVER    the header traceparent              a command over HTTP
    send commands            PRODUCER  none; links to what caused it       a command of ``tidemark send``, or of a process manager
    process commands         CONSUMER  the command's traceparent           a command; its context is that of the command's events
    send events              CLIENT    the event's traceparent             an event, each time that the relay publishes it
    resend events            CLIENT    none; links to the events           a page of events that a projection has requested again
    process <projection>     CONSUMER  the event's traceparent             an event in each projection and process manager; failures too
    process batch            CONSUMER  none; links to the events           a commit of several events with one that is sampled

A scheduled command that is due is decided in a trace of its own, which links to the one that it was sent in.
"""

from collections.abc import Mapping
from typing import Final

# Messaging
SYSTEM: Final = "messaging.system"
RABBITMQ: Final = "rabbitmq"
OPERATION_NAME: Final = "messaging.operation.name"
OPERATION_TYPE: Final = "messaging.operation.type"
SEND: Final = "send"
RESEND: Final = "resend"
PROCESS: Final = "process"
DESTINATION: Final = "messaging.destination.name"
"""The exchange, or the queue that is consumed."""
ROUTING_KEY: Final = "messaging.rabbitmq.destination.routing_key"
MESSAGE_ID: Final = "messaging.message.id"
"""The CloudEvents ``id`` of a command or an event."""
CONVERSATION_ID: Final = "messaging.message.conversation_id"
"""The ``correlation_id``."""
BATCH_COUNT: Final = "messaging.batch.message_count"

# General and HTTP
ERROR_TYPE: Final = "error.type"
"""A stable word: the reason, or the refusal's code."""
METHOD: Final = "http.request.method"
ROUTE: Final = "http.route"
STATUS: Final = "http.response.status_code"

# Tidemark's own
COMMAND_TYPE: Final = "tidemark.command.type"
COMMAND_SOURCE: Final = "tidemark.command.source"
OUTCOME: Final = "tidemark.command.outcome"
"""accepted, rejected, scheduled, or failed: no outcome yet."""
CODE: Final = "tidemark.command.code"
"""The refusal's code, or the reason why there is no outcome."""
EVENT_TYPE: Final = "tidemark.event.type"
STREAM: Final = "tidemark.stream"
VERSION: Final = "tidemark.stream.version"
PROJECTION: Final = "tidemark.projection"
VISIBLE_SECONDS: Final = "tidemark.visible_seconds"
"""From the decision until the event was committed to the projection's store, where queries see it."""
ATTEMPTS: Final = "tidemark.attempts"
"""How many attempts at the event have failed, this one included."""
HELD: Final = "tidemark.held"
"""retrying or dead: how the event holds its stream from now on."""

# What the spans of an operation have in common
SENDING: Final[Mapping[str, str]] = {SYSTEM: RABBITMQ, OPERATION_NAME: SEND, OPERATION_TYPE: SEND}
RESENDING: Final[Mapping[str, str]] = {**SENDING, OPERATION_NAME: RESEND}
PROCESSING: Final[Mapping[str, str]] = {SYSTEM: RABBITMQ, OPERATION_NAME: PROCESS, OPERATION_TYPE: PROCESS}
