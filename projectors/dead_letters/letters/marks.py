"""Dead commands, each sent once more with a mark that says what has become of it, so that whoever waits for its outcome is told.

The mark is written in the transaction that makes it true, and sent at least once. The command service tries no marked command: it
refuses what an operator has discarded or superseded, and gives the reason why there is no outcome for what the broker gave up.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from projectors.dead_letters.outgoing import DeadCommand, command
from shared.messaging import topology
from shared.messaging.broker import Outgoing
from shared.runtime.postgres import Connection

BATCH: Final = 200

# What was no command has no outcome, and nobody is told.
MARK: Final = """
INSERT INTO marks (letter_id, mark)
SELECT id, $2 FROM letters
WHERE id = ANY ($1::bigint[]) AND origin = 'commands' AND command_id IS NOT NULL
    AND reason NOT IN ('malformed-message', 'message-too-large')
ON CONFLICT (letter_id) DO UPDATE SET mark = excluded.mark
"""
# Of those that have just come in, by what makes them the letters they are.
MARK_GIVEN_UP: Final = """
INSERT INTO marks (letter_id, mark)
SELECT id, 'delivery-limit' FROM letters
WHERE origin = 'commands' AND identity = ANY ($1::bytea[]) AND command_id IS NOT NULL AND reason = 'delivery-limit' AND live
ON CONFLICT (letter_id) DO UPDATE SET mark = excluded.mark
"""
UNSENT: Final = """
SELECT letter_id, mark, body, content_type, routing_key, reply_to, correlation_id
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
    """``what``: topology.DISCARDED or SUPERSEDED."""
    await connection.execute(MARK, list(letter_ids), what)


async def mark_given_up(connection: Connection, identities: Sequence[bytes]) -> None:
    """Those of these letters of commands that the broker gave up."""
    await connection.execute(MARK_GIVEN_UP, list(identities))


async def unsent(connection: Connection) -> list[MarkedCommand]:
    """Some that are still to be sent, the oldest letters first."""
    rows = await connection.fetch(UNSENT, BATCH)
    return [
        MarkedCommand(
            row["letter_id"],
            row["mark"],
            command(
                DeadCommand(
                    row["body"], row["content_type"], row["routing_key"], row["reply_to"], row["correlation_id"]
                ),
                {topology.DEAD_COMMAND_HEADER: row["mark"]},
            ),
        )
        for row in rows
    ]


async def delete_sent(connection: Connection, commands: Sequence[MarkedCommand]) -> None:
    """The broker has these. One that was marked otherwise meanwhile goes out again."""
    await connection.execute(DELETE_SENT, [each.letter_id for each in commands], [each.mark for each in commands])
