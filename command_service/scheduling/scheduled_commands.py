"""Commands with a ``notbefore`` in the future: kept in the write database, and put into the queue when they are due.

    worker ──notbefore in the future──▶ scheduled_commands ──due, by the database's clock──▶ [commands], marked as due ──▶ worker: outcome
                                              ▲ ──cancelled──▶ [commands], marked as cancelled ──▶ worker: the outcome ``cancelled``
                                              └─ the same command with another notbefore: rescheduled

A scheduled command has no outcome yet. Its key belongs to its body: another body under the same key is refused. The transaction that
writes the outcome deletes the row; a command that is put into the queue twice has one outcome all the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple
from uuid import uuid4

from pydantic_core import from_json, to_json

from command_service.handling.parsing import Command, CommandKey
from shared.messages.control import Acted
from shared.messages.envelope import CONTENT_TYPE
from shared.messaging import topology
from shared.messaging.acted import acted_message
from shared.messaging.broker import Outgoing
from shared.runtime.postgres import Connection

SOURCE: Final = "tidemark/command-service"

# The reply queue and the correlation id of whom the outcome is for stay those of the first message that had them.
SCHEDULE: Final = """
INSERT INTO scheduled_commands AS known (command_id, source, command_type, body_hash, envelope, due_at, reply_to, correlation_id, sender)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::text[], $6::timestamptz[], $7::text[], $8::text[], $9::text[])
ON CONFLICT (command_id, source) DO UPDATE SET
    envelope = excluded.envelope,
    due_at = excluded.due_at,
    reply_to = coalesce(excluded.reply_to, known.reply_to),
    correlation_id = coalesce(excluded.correlation_id, known.correlation_id),
    sender = coalesce(known.sender, excluded.sender),
    body_hash = excluded.body_hash,
    sent_at = NULL
WHERE known.body_hash = excluded.body_hash OR length(known.body_hash) < length(excluded.body_hash)
"""
DELETE_SCHEDULED: Final = """
DELETE FROM scheduled_commands USING unnest($1::text[], $2::text[]) AS decided (command_id, source)
WHERE scheduled_commands.command_id = decided.command_id AND scheduled_commands.source = decided.source
"""
SCHEDULED_COMMANDS: Final = """
SELECT id, command_id, source, command_type, envelope, due_at, reply_to, correlation_id, scheduled_at, sender
FROM scheduled_commands
WHERE (due_at, id) > ($1, $2) AND ($3::text IS NULL OR source = $3) AND ($4::text IS NULL OR command_type = $4)
ORDER BY due_at, id LIMIT $5
"""
SCHEDULED_COMMAND: Final = """
SELECT id, command_id, source, command_type, envelope, due_at, reply_to, correlation_id, scheduled_at, sender
FROM scheduled_commands WHERE command_id = $1 AND source = $2
"""


class Waiting(NamedTuple):
    """A command that is to be kept until it is due. ``sender``: the broker's user that has sent it."""

    command: Command
    due_at: datetime
    reply_to: str | None = None
    sender: str = ""


@dataclass(frozen=True, slots=True)
class ScheduledCommand:
    """A command that waits for its time."""

    id: int
    """In the order in which they were scheduled."""
    command_id: str
    source: str
    command_type: str
    envelope: str
    due_at: datetime
    reply_to: str | None
    correlation_id: str | None
    scheduled_at: datetime
    sender: str | None
    """The broker's user that has sent it first."""

    @property
    def subject(self) -> str | None:
        subject: str | None = from_json(self.envelope).get("subject")
        return subject

    def due(self) -> Outgoing:
        """The message that has it decided now."""
        sender = {topology.SENDER_HEADER: self.sender} if self.sender else {}
        return self._message(self.envelope, {topology.SCHEDULED_HEADER: topology.DUE, **sender})

    def cancelled(self, actor: str, reason: str) -> Outgoing:
        """The message that has it refused as ``cancelled``, unless it has been decided."""
        headers = {
            topology.SCHEDULED_HEADER: topology.CANCELLED,
            topology.ACTOR_HEADER: actor,
            topology.REASON_HEADER: reason,
        }
        return self._message(self.envelope, headers)

    def rescheduled(self, notbefore: datetime) -> Outgoing:
        """The message that has it decided at another time, unless it has been decided."""
        envelope = from_json(self.envelope) | {"notbefore": notbefore}
        return self._message(to_json(envelope).decode(), {})

    def asked(self, act: Literal["cancel", "reschedule"], actor: str, reason: str, **details: str) -> Outgoing:
        """The record for the audit that an operator asks for this; published before the change, so that none is unrecorded."""
        acted = Acted(
            projection=topology.COMMANDS,
            act=f"{act}-scheduled",
            generation=1,
            subject=self.command_id,
            details={"source": self.source, "command_type": self.command_type} | details,
            actor=actor,
            reason=reason,
            request_id=f"scheduled/{uuid4()}",
            asked_at=datetime.now(UTC),
        )
        return acted_message(acted, SOURCE)

    def _message(self, envelope: str, headers: dict[str, Any]) -> Outgoing:
        return Outgoing(
            topology.COMMANDS,
            self.command_type,
            envelope.encode(),
            CONTENT_TYPE,
            type=self.command_type,
            correlation_id=self.correlation_id,
            reply_to=self.reply_to,
            headers=headers,
        )


async def schedule(connection: Connection, commands: Sequence[Waiting]) -> None:
    """Keep these commands until they are due."""
    last = {waiting.command.key: waiting for waiting in commands}
    rows = [last[key] for key in sorted(last)]
    kept, due, replies, senders = zip(*rows, strict=True)
    envelopes = [command.envelope for command in kept]
    await connection.execute(
        SCHEDULE,
        [envelope.id for envelope in envelopes],
        [envelope.source for envelope in envelopes],
        [envelope.type for envelope in envelopes],
        [command.digest for command in kept],
        [envelope.model_dump_json(exclude_none=True) for envelope in envelopes],
        due,
        replies,
        [command.correlation_id for command in kept],
        [sender or None for sender in senders],
    )


async def delete(connection: Connection, keys: Sequence[CommandKey]) -> None:
    """In the transaction that writes their outcomes."""
    await connection.execute(DELETE_SCHEDULED, [command_id for _, command_id in keys], [source for source, _ in keys])


async def scheduled(connection: Connection, key: CommandKey) -> ScheduledCommand | None:
    source, command_id = key
    row = await connection.fetchrow(SCHEDULED_COMMAND, command_id, source)
    return None if row is None else ScheduledCommand(*row)


async def page(
    connection: Connection, after: tuple[datetime, int], limit: int, *, source: str | None, command_type: str | None
) -> list[ScheduledCommand]:
    """Up to ``limit`` of them, by the time at which they are due, then in the order in which they were scheduled."""
    rows = await connection.fetch(SCHEDULED_COMMANDS, *after, source, command_type, limit)
    return [ScheduledCommand(*row) for row in rows]
