"""The epoch of the write database: another one begins where the database is not the one it was, so that it may know less than it did.

A restored, promoted or copied database is told by what it is: its cluster, timeline, oid, and the oid of the table that says so. Whoever
is the first to write to it, or to relay from it, begins the new epoch. What cannot be told so (a data folder that was copied back) is
for an operator to say: ``tidemark epoch new``.
"""

import logging
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from shared.runtime.postgres import Connection

log: Final = logging.getLogger(__name__)

# The newest epoch, where it belongs to this database. The WAL file's name begins with the timeline.
CURRENT: Final = """
SELECT number, epoch FROM (SELECT * FROM epochs ORDER BY number DESC LIMIT 1) AS newest
WHERE system_identifier = (SELECT system_identifier FROM pg_control_system())
    AND timeline = ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::bigint
    AND database_oid = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND table_oid = 'epochs'::regclass::oid
"""
ONE_AT_A_TIME: Final = "LOCK TABLE epochs IN SHARE ROW EXCLUSIVE MODE"
BEGIN: Final = """
INSERT INTO epochs (epoch, reason, system_identifier, timeline, database_oid, table_oid)
SELECT $1, $2, system_identifier, ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::bigint,
    (SELECT oid FROM pg_database WHERE datname = current_database()), 'epochs'::regclass::oid
FROM pg_control_system()
RETURNING number, epoch
"""
BEGUN_BY: Final = "UPDATE epochs SET actor = $2 WHERE number = $1"
ANY: Final = "SELECT EXISTS (SELECT FROM epochs)"
FIRST: Final = "the first"
ANOTHER: Final = "this is not the database that the last epoch belongs to: it was restored, promoted or copied"


@dataclass(frozen=True, slots=True)
class Epoch:
    """``number`` orders the epochs of one database; ``name`` tells them apart everywhere."""

    number: int
    name: str


async def current(connection: Connection) -> Epoch | None:
    """None: the last one belongs to another database, or there was none."""
    row = await connection.fetchrow(CURRENT)
    return None if row is None else Epoch(*row)


async def settled(connection: Connection) -> Epoch:
    """The epoch of this database, begun now where it has none of its own. Not within a transaction of the caller's."""
    found = await current(connection)
    if found is not None:
        return found
    async with connection.transaction():
        await connection.execute(ONE_AT_A_TIME)
        found = await current(connection)
        if found is not None:
            return found
        reason = ANOTHER if await connection.fetchval(ANY) else FIRST
        found = Epoch(*await connection.fetchrow(BEGIN, uuid4().hex, reason))  # type: ignore[misc]
    log.warning("epoch %s of the write database begins: %s", found.name, reason)
    return found


async def begin(connection: Connection, reason: str, actor: str) -> Epoch:
    """A new epoch, because an operator says so."""
    async with connection.transaction():
        await connection.execute(ONE_AT_A_TIME)
        begun = Epoch(*await connection.fetchrow(BEGIN, uuid4().hex, reason))  # type: ignore[misc]
        await connection.execute(BEGUN_BY, begun.number, actor)
    return begun
