"""The outbox table: written in the commands' transaction (``event_store``), read and emptied by the relay alone.

Ids increase along each stream (see ``event_store``), so reading by id keeps every stream's order; across streams ids may become visible
out of order, which is harmless because rows are deleted, never skipped.
"""

from typing import Final

CHANNEL: Final = "tidemark_outbox"

HEAD: Final = """
SELECT id, stream, type, envelope FROM outbox WHERE hash % $2::bigint <> ALL ($3::bigint[]) ORDER BY id LIMIT $1
"""
"""The oldest $1 rows, except those of the lanes $3, of $2 lanes."""

DELETE: Final = "DELETE FROM outbox WHERE id = ANY ($1::bigint[])"
NOW: Final = "SELECT clock_timestamp()"
