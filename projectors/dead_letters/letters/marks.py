"""Dead commands are sent again with a mark that states what became of them, so that the sender receives an outcome.

The mark is written in the transaction that makes it true, and is sent at least once. The command service does not handle a marked
command: it rejects a discarded or superseded one, and reports why there is no outcome of one that the broker dead-lettered after the
delivery limit.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from projectors.dead_letters.outgoing import DeadCommand, command
from shared.messaging import topology
from shared.messaging.broker import Outgoing
from shared.runtime.postgres import Connection

BATCH: Final = 200

# Messages that were not commands have no outcome and get no mark.
MARK: Final = """
INSERT INTO marks (letter_id, mark)
SELECT id, $2 FROM letters
WHERE id = ANY ($1::bigint[]) AND origin = 'commands' AND command_id IS NOT NULL
    AND reason NOT IN ('malformed-message', 'message-too-large')
ON CONFLICT (letter_id) DO UPDATE SET mark = excluded.mark
"""
# Of the letters just stored, selected by identity.
MARK_GIVEN_UP: Final = """
INSERT INTO marks (letter_id, mark)
SELECT id, 'delivery-limit' FROM letters
WHERE origin = 'commands' AND identity = ANY ($1::bytea[]) AND command_id IS NOT NULL AND reason = 'delivery-limit' AND live
ON CONFLICT (letter_id) DO UPDATE SET mark = excluded.mark
"""
UNSENT: Final = """
SELECT letter_id, mark, body, content_type, routing_key, reply_to, correlation_id,
    headers ->> 'tidemark-sender' AS sender
FROM (SELECT * FROM marks ORDER BY letter_id LIMIT $1) AS marks
JOIN letters ON letters.id = letter_id JOIN payloads USING (letter_id)
ORDER BY letter_id
"""
DELETE_SENT: Final = """
DELETE FROM marks USING unnest($1::bigint[], $2::text[]) AS sent (letter_id, mark)
WHERE marks.letter_id = sent.letter_id AND marks.mark = sent.mark
"""


class MarkedCommand(NamedTuple):
    letter_id: int
    mark: str
    message: Outgoing


async def mark(connection: Connection, letter_ids: Sequence[int], what: str) -> None:
    """Mark the commands of these letters. ``what``: topology.DISCARDED or SUPERSEDED."""
    await connection.execute(MARK, list(letter_ids), what)


async def mark_given_up(connection: Connection, identities: Sequence[bytes]) -> None:
    """Mark the commands among these letters that the broker dead-lettered after the delivery limit."""
    await connection.execute(MARK_GIVEN_UP, list(identities))


async def unsent(connection: Connection) -> list[MarkedCommand]:
    """Up to BATCH marked commands that have not been sent, the oldest letters first."""
    rows = await connection.fetch(UNSENT, BATCH)
    return [
        MarkedCommand(
            row["letter_id"],
            row["mark"],
            command(
                DeadCommand(
                    row["body"],
                    row["content_type"],
                    row["routing_key"],
                    row["reply_to"],
                    row["correlation_id"],
                    row["sender"],
                ),
                {topology.DEAD_COMMAND_HEADER: row["mark"]},
            ),
        )
        for row in rows
    ]


async def delete_sent(connection: Connection, commands: Sequence[MarkedCommand]) -> None:
    """The broker has confirmed these. A command whose mark has changed meanwhile is kept and sent again."""
    await connection.execute(DELETE_SENT, [each.letter_id for each in commands], [each.mark for each in commands])
