"""The epoch of the write database: a new one begins when the database is no longer the same, and so may have lost commits.

A restored, promoted or copied database is detected by its identity: its cluster, timeline, oid, and the oid of the table ``epochs``. The
first process that writes to it or relays from it begins the new epoch. What cannot be detected so (a data directory copied back) has to
be declared by an operator: ``tidemark epoch new``.
"""

import logging
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from shared.messages.control import Acted
from shared.messaging.topology import COMMANDS
from shared.runtime.postgres import Connection

log: Final = logging.getLogger(__name__)

# The newest epoch, if it belongs to this database. A WAL file's name begins with the timeline.
CURRENT: Final = """
SELECT number, epoch FROM (SELECT * FROM epochs ORDER BY number DESC LIMIT 1) AS newest
WHERE system_identifier = (SELECT system_identifier FROM pg_control_system())
    AND timeline = ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::bigint
    AND database_oid = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND table_oid = 'epochs'::regclass::oid
"""
LOCK_EPOCHS: Final = "SELECT pg_advisory_xact_lock(hashtextextended('tidemark epochs', 0))"
"""Not a lock on the table: that would need the privilege to change its rows, which are never changed."""
BEGIN: Final = """
INSERT INTO epochs (epoch, reason, system_identifier, timeline, database_oid, table_oid)
SELECT $1, $2, system_identifier, ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::bigint,
    (SELECT oid FROM pg_database WHERE datname = current_database()), 'epochs'::regclass::oid
FROM pg_control_system()
RETURNING number, epoch
"""
SET_ACTOR: Final = "UPDATE epochs SET actor = $2 WHERE number = $1"
BEGUN: Final = "SELECT reason, actor, begun_at FROM epochs WHERE number = $1"
HAS_EPOCHS: Final = "SELECT EXISTS (SELECT FROM epochs)"
FIRST_EPOCH: Final = "the first"
OTHER_DATABASE: Final = "this is not the database that the last epoch belongs to: it was restored, promoted or copied"


@dataclass(frozen=True, slots=True)
class Epoch:
    """``number`` orders the epochs of one database; ``name`` is globally unique."""

    number: int
    name: str


async def current(connection: Connection) -> Epoch | None:
    """The current epoch; None: the last one belongs to another database, or there is none."""
    row = await connection.fetchrow(CURRENT)
    return None if row is None else Epoch(*row)


async def ensure_current(connection: Connection) -> Epoch:
    """The epoch of this database, which begins now if it has none of its own. Must not be called within a transaction."""
    found = await current(connection)
    if found is not None:
        return found
    async with connection.transaction():
        await connection.execute(LOCK_EPOCHS)
        found = await current(connection)
        if found is not None:
            return found
        reason = OTHER_DATABASE if await connection.fetchval(HAS_EPOCHS) else FIRST_EPOCH
        found = Epoch(*await connection.fetchrow(BEGIN, uuid4().hex, reason))  # type: ignore[misc]
    log.warning("epoch %s of the write database begins: %s", found.name, reason)
    return found


async def as_act(connection: Connection, epoch: Epoch) -> Acted:
    """How it began, for the audit, which records it once however often it is reported."""
    reason, actor, begun_at = await connection.fetchrow(BEGUN, epoch.number)  # type: ignore[misc]
    return Acted(
        projection=COMMANDS,
        act="begin-epoch",
        generation=0,
        subject=epoch.name,
        actor=actor or "tidemark",
        reason=reason,
        request_id=f"epoch/{epoch.name}",
        asked_at=begun_at,
    )


async def begin(connection: Connection, reason: str, actor: str) -> Epoch:
    """Begin a new epoch at an operator's request."""
    async with connection.transaction():
        await connection.execute(LOCK_EPOCHS)
        begun = Epoch(*await connection.fetchrow(BEGIN, uuid4().hex, reason))  # type: ignore[misc]
        await connection.execute(SET_ACTOR, begun.number, actor)
    return begun
