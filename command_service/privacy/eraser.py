"""The eraser, a task of the relay: sees every erasure through, and keeps the two lists of erased persons equal.

    privacy.subject-erased, erasures, claims freed ──one transaction of the worker──▶ the key is destroyed ──audit──▶ erased_at
                                                   ──SETTLE later──▶ the command once more: settled_at

Every step may be repeated, and is, until it is committed; a crash between two of them changes nothing. The second command frees what a
worker has claimed that had read the key before it was destroyed.

The key database and the write database each list who is erased. A subject that only one of them has was lost by a restore of the other:
missing keys are destroyed again, a missing event is asked for by a command.

Where an older version has left personal data in clear, no erasure is complete before `tidemark subjects seal`, which the eraser says.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import uuid4

from pydantic_core import to_json

from shared.contracts.privacy import ERASE_SUBJECT, stream_of_subject
from shared.messages.control import Acted
from shared.messages.envelope import CONTENT_TYPE
from shared.messaging import topology
from shared.messaging.acted import acted_message
from shared.messaging.broker import BrokerError, Outgoing, Publisher
from shared.privacy.key_database import KeyDatabase
from shared.runtime.failpoints import Failpoint, reached
from shared.runtime.outage import OutageRetry
from shared.runtime.postgres import Database, is_outage
from shared.runtime.process import Stopped

log: Final = logging.getLogger(__name__)

SOURCE: Final = "tidemark/eraser"
SYSTEM: Final = "tidemark"
"""The actor of an erasure that nobody has asked for."""
PAUSE_S: Final = 1.0
SETTLE: Final = timedelta(minutes=2)
"""A worker that has read a key writes with it for less than this; one that was frozen for longer has lost the queue."""
RECONCILE_EVERY_S: Final = 30.0
AT_ONCE: Final = 20

OPEN: Final = """
SELECT subject, requested_at, erased_at IS NOT NULL AS again FROM erasures
WHERE settled_at IS NULL AND (erased_at IS NULL OR erased_at < now() - $1::interval)
ORDER BY requested_at LIMIT $2
"""
ERASED: Final = "UPDATE erasures SET erased_at = now() WHERE subject = $1 AND erased_at IS NULL"
SETTLED: Final = "UPDATE erasures SET settled_at = now() WHERE subject = $1"
ALL: Final = "SELECT subject FROM erasures"
ASKED_BY: Final = """
SELECT envelope ->> 'actor' AS actor, envelope ->> 'behind' AS behind, envelope -> 'data' ->> 'reason' AS reason
FROM all_events WHERE stream = $1 ORDER BY version DESC LIMIT 1
"""
IS_SEALED: Final = "SELECT done_at IS NOT NULL FROM sealing"


class Eraser:
    def __init__(
        self, write_db_url: str, keys: KeyDatabase, publisher: Publisher, *, stopping: asyncio.Event | None = None
    ) -> None:
        self._database = Database(write_db_url, max_size=1)
        self._keys = keys
        self._publisher = publisher
        self._outages = OutageRetry(
            "the eraser", lambda error: isinstance(error, BrokerError) or is_outage(error), stopping=stopping
        )
        self._reconciled_at = float("-inf")

    @property
    def trouble(self) -> str | None:
        """Why erasures are not seen through."""
        return self._outages.trouble

    async def run(self, stopping: asyncio.Event) -> None:
        """Until stopped; retries during outages of the databases and the broker."""
        with suppress(Stopped):
            while not stopping.is_set():
                full = await self._outages.until_up(self.round, what="erasing", takes_long=True)
                await self._outages.pause(0 if full else PAUSE_S)

    async def close(self) -> None:
        await self._database.close()
        await self._keys.close()

    async def round(self, *, settle: timedelta = SETTLE) -> bool:
        """Everything that is to be done now, as far as one round takes it; returns whether another one should follow at once."""
        if time.monotonic() - self._reconciled_at >= RECONCILE_EVERY_S:
            await self.reconcile()
            self._reconciled_at = time.monotonic()
        pool = await self._database.pool()
        found = await pool.fetch(OPEN, settle, AT_ONCE)
        for row in found:
            await self._erase(row["subject"], row["requested_at"], again=row["again"])
        return len(found) == AT_ONCE

    async def reconcile(self) -> None:
        """Make the two lists equal, so that no restore of either database brings anybody back."""
        pool = await self._database.pool()
        here, there = {row["subject"] for row in await pool.fetch(ALL)}, set(await self._keys.erased())
        for subject in sorted(here - there):
            log.warning("%s is erased, and the key database does not list it", subject)
            await self._keys.destroy(subject)
        for subject in sorted(there - here):
            log.warning("%s is erased, and the write database does not list it: it was restored", subject)
            await self._publisher.publish(_command(subject, "applied again after a restore"))
        if here and not await pool.fetchval(IS_SEALED):
            log.warning("persons are erased, but an older version has left data in clear: run `tidemark subjects seal`")

    async def _erase(self, subject: str, requested_at: datetime, *, again: bool) -> None:
        await self._keys.destroy(subject)
        reached(Failpoint.AFTER_KEY)
        pool = await self._database.pool()
        if again:
            await self._publisher.publish(_command(subject, "to free what was claimed meanwhile"))
        else:
            asked = await pool.fetchrow(ASKED_BY, stream_of_subject(subject))
            await self._publisher.publish(_record(subject, requested_at, {} if asked is None else dict(asked)))
        await pool.execute(SETTLED if again else ERASED, subject)
        log.info("%s is %s", subject, "erased for good" if again else "erased")


def _record(subject: str, requested_at: datetime, asked: Mapping[str, str | None]) -> Outgoing:
    """The erasure for the audit, recorded once however often it is sent. Its actor is the command's; without one, it is SYSTEM."""
    behind = asked.get("behind")
    acted = Acted(
        projection=topology.COMMANDS,
        act="erase-subject",
        generation=1,
        subject=subject,
        details={"behind": behind} if behind else None,
        actor=asked.get("actor") or SYSTEM,
        reason=asked.get("reason") or "",
        request_id=f"erasure/{subject}",
        asked_at=requested_at,
    )
    return acted_message(acted, SOURCE)


def _command(subject: str, reason: str) -> Outgoing:
    """The message that has the erasure decided once more."""
    envelope = {
        "specversion": "1.0",
        "id": f"erasure:{uuid4()}",
        "source": SOURCE,
        "type": ERASE_SUBJECT,
        "time": datetime.now(UTC).isoformat(),
        "data": {"subject": subject, "reason": reason},
    }
    return Outgoing(topology.COMMANDS, ERASE_SUBJECT, to_json(envelope), CONTENT_TYPE, type=ERASE_SUBJECT)
