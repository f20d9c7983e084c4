"""A span for each command that is decided and whose trace is recorded. Its context goes into the command, and so into its events.

A command without a ``traceparent`` has that of its message's headers, where OpenTelemetry's instrumentations of AMQP put it. Without one it
begins a trace here, if it is drawn. A scheduled command that is due begins one that links to its own.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from command_service.handling.parsing import Command, Message
from command_service.handling.replies import Result
from command_service.measuring.commands import outcome_of
from shared.contracts.registry import COMMANDS
from shared.messages.trace_context import trace_parent
from shared.messaging import topology
from shared.messaging.consuming import Delivery
from shared.observability import trace_names as names
from shared.observability import tracing
from shared.observability.families import OTHER
from shared.observability.spans import Recorder, Span, SpanKind, fail, traceparent_of

NAME: Final = f"{names.PROCESS} {topology.COMMANDS}"


class CommandSpans:
    """Those of one batch; usually none. What is not ended, because the worker stops, is not recorded."""

    def __init__(self) -> None:
        self._recorder = tracing.recorder
        self._began_ns = time.time_ns() if self._recorder is not None else 0
        self._open: list[tuple[Span, int, int]] = []
        """Each with the places of its message, and of its command in that."""

    def begin(self, deliveries: Sequence[Delivery], messages: Sequence[Message]) -> Sequence[Message]:
        """The messages, with the spans' contexts in the commands that are recorded."""
        recorder = self._recorder
        if recorder is None:
            return messages
        return [
            self._begin_message(recorder, place, delivery, message)
            for place, (delivery, message) in enumerate(zip(deliveries, messages, strict=True))
        ]

    def end(self, results: Sequence[Sequence[Result]]) -> None:
        """``results``: of each message's parts, committed."""
        for span, message, part in self._open:
            outcome, code = outcome_of(results[message][part])
            span.set_attribute(names.OUTCOME, outcome)
            if code:
                span.set_attribute(names.CODE, code)
            if outcome == "failed":
                fail(span, code)
            span.end()

    def _begin_message(self, recorder: Recorder, place: int, delivery: Delivery, message: Message) -> Message:
        changed: dict[int, Command] = {}
        of_message = trace_parent(delivery.headers.get("traceparent"))
        for number, part in enumerate(message.parts):
            if not isinstance(part, Command):
                continue
            before = part.envelope.traceparent or of_message
            if recorder.is_drawn() if before is None else tracing.is_sampled(before):
                span = self._begin_command(recorder, delivery, part, before)
                self._open.append((span, place, number))
                envelope = part.envelope.model_copy(update={"traceparent": traceparent_of(span)})
                changed[number] = replace(part, envelope=envelope)
        if not changed:
            return message
        return replace(message, parts=tuple(changed.get(number, part) for number, part in enumerate(message.parts)))

    def _begin_command(self, recorder: Recorder, delivery: Delivery, command: Command, before: str | None) -> Span:
        envelope = command.envelope
        attributes = {
            **names.PROCESSING,
            names.DESTINATION: topology.COMMANDS,
            names.MESSAGE_ID: envelope.id,
            names.COMMAND_TYPE: envelope.type if envelope.type in COMMANDS else OTHER,
            names.COMMAND_SOURCE: envelope.source,
        }
        if before is not None and topology.SCHEDULED_HEADER in delivery.headers:
            return recorder.begin(NAME, SpanKind.CONSUMER, attributes, links=[before], at_ns=self._began_ns)
        return recorder.begin(NAME, SpanKind.CONSUMER, attributes, parent=before, at_ns=self._began_ns)
