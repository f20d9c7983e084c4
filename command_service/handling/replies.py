"""Replies: every outcome to its sender, every rejection also to ``outcomes``; undecodable parts to ``commands.dead``.

A command that fails inside the service also goes to ``commands.dead``: it has no outcome yet, and its sender receives a notice. Replies
are sent to reply queues only (``shared.messaging.reply_to``).

All are confirmed by the broker before the command's message is acknowledged. If the reply queue no longer exists, the reply is dropped:
the outcome stays in the database, and the same command sent again gets it.
"""

import traceback
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from command_service.handling.decision import SOURCE, Failed, Outcome, Scheduled
from command_service.handling.parsing import Command, Message, Undecodable
from command_service.handling.pending import MESSAGES, SCHEDULED
from command_service.privacy.personal_data import has_personal_texts
from shared.messages.envelope import BATCH_CONTENT_TYPE, CONTENT_TYPE, pack
from shared.messages.outcomes import (
    PENDING,
    REJECTED,
    OutcomeEnvelope,
    Pending,
    Rejected,
    at_index,
    pending_id,
    refusal_id,
)
from shared.messaging import topology
from shared.messaging.broker import Outgoing
from shared.messaging.consuming import Delivery
from shared.messaging.reply_to import reply_queue
from shared.privacy.errors import WITHHELD, frames_of

TRACE_BYTES: Final = 2048

Result = Outcome | Failed | Scheduled | Undecodable


def replies_to(delivery: Delivery, message: Message, results: Sequence[Result]) -> Iterator[Outgoing]:
    """All messages to publish about one delivery; ``results``: one for each of its parts."""
    replies: list[bytes] = []
    for index, (part, result) in enumerate(zip(message.parts, results, strict=True)):
        match result:
            case Outcome():
                replies.append(result.body)
                if not result.accepted and isinstance(part, Command):
                    yield _rejected(part, result, delivery)
            case Undecodable():
                replies.append(_refusal(result, index))
                if result.is_dead_letter:
                    yield _dead_letter(result.body, result.code, result.message, delivery)
            case Scheduled():
                if isinstance(part, Command):
                    replies.append(_pending(part, SCHEDULED, result.due_at))
            case Failed():
                if isinstance(part, Command):
                    replies.append(_pending(part, result.reason))
                if result.error is not None:
                    yield _failed(part, result.reason, result.error, delivery)
    queue = reply_queue(delivery.reply_to)
    if queue and replies:
        yield Outgoing(
            exchange="",
            routing_key=queue,
            body=pack([at_index(reply, index) for index, reply in enumerate(replies)]) if message.batch else replies[0],
            content_type=BATCH_CONTENT_TYPE if message.batch else CONTENT_TYPE,
            correlation_id=delivery.correlation_id,
            mandatory=False,
        )


def _rejected(command: Command, outcome: Outcome, delivery: Delivery) -> Outgoing:
    return Outgoing(
        exchange=topology.OUTCOMES,
        routing_key=topology.rejected_key(command.envelope.type),
        body=outcome.body,
        content_type=CONTENT_TYPE,
        type=REJECTED,
        correlation_id=delivery.correlation_id,
        mandatory=False,
    )


def _refusal(part: Undecodable, index: int) -> bytes:
    """A rejection that is not stored: without a valid id there is no key for it."""
    data = Rejected(
        command_id=part.command_id,
        command_type=part.command_type,
        code=part.code,
        message=part.message,
        errors=part.errors,
    )
    envelope = OutcomeEnvelope(
        id=refusal_id(data, part.body, index), source=SOURCE, type=REJECTED, time=datetime.now(UTC), data=data
    )
    return envelope.model_dump_json(exclude_none=True).encode()


def _pending(command: Command, reason: str, notbefore: datetime | None = None) -> bytes:
    """Not an outcome: the notice that there is none yet, and why."""
    envelope = OutcomeEnvelope(
        id=pending_id(*command.key),
        source=SOURCE,
        type=PENDING,
        subject=command.envelope.subject,
        time=datetime.now(UTC),
        commandsource=command.envelope.source,
        data=Pending(
            command_id=command.envelope.id,
            command_type=command.envelope.type,
            reason=reason,
            message=MESSAGES[reason],
            notbefore=notbefore,
        ),
    )
    return envelope.model_dump_json(exclude_none=True).encode()


def _failed(part: Command | Undecodable, reason: str, error: Exception, delivery: Delivery) -> Outgoing:
    """The dead letter of a command that the service fails on. If it has personal data, the error's text is withheld: it may quote them."""
    if isinstance(part, Command) and has_personal_texts(part):
        return _dead_letter(_body_of(part), reason, WITHHELD, delivery, error, trace=frames_of(error))
    return _dead_letter(_body_of(part), reason, str(error), delivery, error)


def _dead_letter(
    body: bytes,
    reason: str,
    message: str,
    delivery: Delivery,
    error: Exception | None = None,
    *,
    trace: str | None = None,
) -> Outgoing:
    headers = {
        "tidemark-reason": reason,
        "tidemark-message": message[:TRACE_BYTES],
        "tidemark-origin": delivery.queue,
        "tidemark-routing-key": delivery.routing_key,
        "tidemark-reply-to": delivery.reply_to,
        topology.SENDER_HEADER: delivery.user_id,
        "tidemark-failed-at": datetime.now(UTC).isoformat(),
    }
    if error is not None:
        headers["tidemark-exception"] = type(error).__name__
        headers["tidemark-trace"] = (trace or "".join(traceback.format_exception(error)))[-TRACE_BYTES:]
    return Outgoing(
        exchange=topology.DEAD,
        routing_key="commands",
        body=body,
        content_type=delivery.content_type,
        correlation_id=delivery.correlation_id,
        headers=headers,
    )


def _body_of(part: Command | Undecodable) -> bytes:
    return part.body if isinstance(part, Undecodable) else part.envelope.model_dump_json(exclude_none=True).encode()
