"""Step-over requests and edited commands that actions have stored in tables. Each is sent at least once.

A step-over request is repeated at increasing intervals until its projection reports it done. An edited command is sent until the broker
has confirmed it; its id makes a duplicate harmless.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from projectors.dead_letters.outgoing import DeadCommand, HeldEvent, command, step_over
from shared.messages.envelope import CONTENT_TYPE
from shared.messaging.broker import Outgoing
from shared.runtime.postgres import Connection

# The request is repeated after 30 s, 1 min, 2 min … at most one hour.
DISCARDS_DUE: Final = """
WITH due AS (
    SELECT letter_id FROM discards WHERE due_at <= now() ORDER BY due_at LIMIT 500 FOR UPDATE SKIP LOCKED
), ordered AS (
    UPDATE discards d SET
        due_at = CASE WHEN l.status IN ('dead', 'replaying')
                 THEN now() + least(interval '30 seconds' * power(2, least(d.asks, 10)), interval '1 hour') END,
        asks = d.asks + 1
    FROM due JOIN letters l ON l.id = due.letter_id
    WHERE d.letter_id = due.letter_id
    RETURNING l.origin, l.stream, l.version, l.status, d.actor, d.reason, d.request_id
)
SELECT * FROM ordered WHERE status IN ('dead', 'replaying')
"""
UNSENT_EDITED: Final = """
SELECT command_id, body, type, reply_to, correlation_id FROM resent_commands
WHERE published_at IS NULL ORDER BY created_at LIMIT 100
"""
MARK_EDITED_SENT: Final = "UPDATE resent_commands SET published_at = now() WHERE command_id = ANY ($1::text[])"


async def discards_due(connection: Connection) -> list[Outgoing]:
    now = datetime.now(UTC)
    return [
        step_over(
            HeldEvent(row["origin"], row["stream"], row["version"]), row["actor"], row["reason"], row["request_id"], now
        )
        for row in await connection.fetch(DISCARDS_DUE)
    ]


async def unsent_edited(connection: Connection) -> dict[str, Outgoing]:
    """Edited commands that the broker has not confirmed yet, by their ids."""
    return {
        row["command_id"]: command(
            DeadCommand(row["body"], CONTENT_TYPE, row["type"], row["reply_to"], row["correlation_id"])
        )
        for row in await connection.fetch(UNSENT_EDITED)
    }


async def mark_edited_sent(connection: Connection, command_ids: Sequence[str]) -> None:
    await connection.execute(MARK_EDITED_SENT, list(command_ids))
