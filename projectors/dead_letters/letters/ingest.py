"""Stores letters in the operations database: each event or command is one letter, and each of its failures counts once.

    incoming ──unknown identity──▶ a new letter
            ├──known, known failure──▶ ignored: a redelivery by the broker
            └──known, new failure──▶ the same letter, live again, one more attempt; its replay items fail

Functions here run within the caller's transaction, and are called by one task at a time.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from projectors.dead_letters.letters.letter import COMMANDS, Incoming
from projectors.dead_letters.letters.marks import mark_given_up
from projectors.dead_letters.replaying.items import BY_KEY_ONLY, fail_items
from shared.messaging.topology import DELIVERY_LIMITED
from shared.runtime.postgres import Connection

# New letters are joined only with the rows just inserted: a nested loop would be quadratic.
ENABLE_HASH_JOIN: Final = "SELECT set_config('enable_hashjoin', 'on', true)"
# Locked, so that retention does not remove a letter that fails again at this moment.
KNOWN: Final = """
SELECT letters.origin, letters.identity, failures.letter_id IS NOT NULL AS repeated
FROM unnest($1::text[], $2::bytea[], $3::timestamptz[]) AS wanted (origin, identity, failed_at)
JOIN letters ON letters.origin = wanted.origin AND letters.identity = wanted.identity
LEFT JOIN letter_failures AS failures
    ON failures.letter_id = letters.id AND failures.failed_at = wanted.failed_at
FOR KEY SHARE OF letters
"""
NEW_LETTERS: Final = (Path(__file__).parent / "new_letters.sql").read_text()
FAILED_AGAIN: Final = (Path(__file__).parent / "failed_again.sql").read_text()


async def ingest(connection: Connection, incoming: Sequence[Incoming]) -> int:
    """Store the letters; returns the number of new failures."""
    return sum([await _ingest(connection, batch) for batch in _without_repeats(incoming)])


async def _ingest(connection: Connection, incoming: Sequence[Incoming]) -> int:
    await connection.execute(BY_KEY_ONLY)
    rows = await connection.fetch(
        KNOWN,
        [letter.origin for letter in incoming],
        [letter.identity for letter in incoming],
        [letter.failed_at for letter in incoming],
    )
    repeated = {(row["origin"], row["identity"]): row["repeated"] for row in rows}
    new = [letter for letter in incoming if letter.key not in repeated]
    again = [letter for letter in incoming if repeated.get(letter.key) is False]
    if again:
        changed = await connection.fetch(FAILED_AGAIN, again)
        await fail_items(connection, [row["letter_id"] for row in changed])
    if new:
        await connection.execute(ENABLE_HASH_JOIN)
        await connection.execute(NEW_LETTERS, new)
    given_up = [
        letter.identity for letter in (*new, *again) if (letter.origin, letter.reason) == (COMMANDS, DELIVERY_LIMITED)
    ]
    if given_up:
        await mark_given_up(connection, given_up)
    return len(new) + len(again)


def _without_repeats(incoming: Sequence[Incoming]) -> Iterator[list[Incoming]]:
    """Batches in which no letter occurs twice, in order, so that the second failure of a letter finds the first already stored."""
    remaining = list(incoming)
    while remaining:
        batch: dict[tuple[str, bytes], Incoming] = {}
        later = [letter for letter in remaining if batch.setdefault(letter.key, letter) is not letter]
        yield list(batch.values())
        remaining = later
