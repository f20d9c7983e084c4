"""Commands without an outcome, and why: the reason is reported to clients. After an error inside the service attempts are limited.

    handler-failed    deciding it raised an error other than a refusal            it is in ``commands.dead``
    process-killed    workers died at every attempt                               it is in ``commands.dead``
    delivery-limit    the broker dead-lettered it, after workers had died with it it is in ``commands.dead``
    retrying          a worker died while it held this among other commands       it is retried alone
    scheduled         it is to be decided later (``command_service.scheduling``)

The transaction that writes the command's outcome deletes its row (``event_store``); where both exist, the outcome counts.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple

from command_service.handling.decision import HANDLER_FAILED
from command_service.handling.parsing import Command, CommandKey
from shared.messaging import topology
from shared.runtime.postgres import Connection

PROCESS_KILLED: Final = "process-killed"
RETRYING: Final = "retrying"
SCHEDULED: Final = "scheduled"

MESSAGES: Final = {
    HANDLER_FAILED: "an error inside the service; the command waits for an operator, and has its outcome once it is replayed",
    PROCESS_KILLED: "the service stopped whenever it tried this command, which waits for an operator to replay it",
    topology.DELIVERY_LIMITED: "the service stopped too often while it held this command, which waits for an operator to replay it",
    SCHEDULED: "the command waits for the time in notbefore, and has its outcome then",
    RETRYING: "the service stopped while it held this command, and tries it again",
}
"""Reason → message for people, without internal details."""

RECORD_UNDECIDED: Final = """
INSERT INTO undecided_commands AS known (command_id, source, command_type, reason)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS new (command_id, source, command_type, reason)
ON CONFLICT (command_id, source) DO UPDATE SET reason = excluded.reason
"""
# Written before the command is tried alone: the count remains if the worker dies.
RECORD_ATTEMPT: Final = """
INSERT INTO undecided_commands AS known (command_id, source, command_type, reason, attempts)
SELECT $1, $2, $3, 'retrying', 1
WHERE NOT EXISTS (SELECT FROM commands WHERE command_id = $1 AND source IN ($2, ''))
ON CONFLICT (command_id, source) DO UPDATE SET
    reason = 'retrying', attempts = CASE known.reason WHEN 'retrying' THEN known.attempts + 1 ELSE 1 END
RETURNING attempts
"""
# A scheduled command on which the service failed is no longer waiting for its time.
UNDECIDED_COMMAND: Final = """
SELECT command_type, reason, since, NULL::timestamptz FROM undecided_commands WHERE command_id = $1 AND source = $2
UNION ALL
SELECT command_type, 'scheduled', scheduled_at, due_at FROM scheduled_commands WHERE command_id = $1 AND source = $2
LIMIT 1
"""


class PendingCommand(NamedTuple):
    command_type: str
    reason: str
    since: datetime
    notbefore: datetime | None = None
    """When a scheduled command is due."""

    @property
    def message(self) -> str:
        return MESSAGES.get(self.reason, "")


async def record_undecided(connection: Connection, held: Iterable[tuple[Command, str]]) -> None:
    """Record why these commands have no outcome: (command, reason)."""
    rows = {command.key: (command.envelope.type, reason) for command, reason in held}
    keys = sorted(rows)
    await connection.execute(
        RECORD_UNDECIDED,
        [command_id for _, command_id in keys],
        [source for source, _ in keys],
        [rows[key][0] for key in keys],
        [rows[key][1] for key in keys],
    )


async def record_attempt(connection: Connection, command: Command) -> int:
    """Record that this command is about to be tried alone; return the number of this attempt. 0: it has an outcome."""
    source, command_id = command.key
    attempts: int | None = await connection.fetchval(RECORD_ATTEMPT, command_id, source, command.envelope.type)
    return attempts or 0


async def pending_of(connection: Connection, key: CommandKey) -> PendingCommand | None:
    source, command_id = key
    row = await connection.fetchrow(UNDECIDED_COMMAND, command_id, source)
    return None if row is None else PendingCommand(*row)
