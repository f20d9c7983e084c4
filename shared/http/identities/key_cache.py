"""The API keys that are valid now, in memory, so that no request waits for the operations database.

    operations database ──every POLL_S, and for an unknown key──▶ ApiKeyCache ──▶ identity, UnauthorisedError, or CredentialsUncheckedError

A key that is revoked, or created, counts within POLL_S + READ_DEADLINE_S (4 s), usually within one second. While the database is
unavailable, the keys that were valid go on for KEPT_S; a key that is not among them gets 503: whether it is valid cannot be known.
After KEPT_S no key is let in, for one of them may have been revoked long ago. A key's expiry needs no database.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from shared.http.identities.api_keys import ApiKey
from shared.http.identities.guard import CredentialsUncheckedError, UnauthorisedError
from shared.http.identities.identity import Identity
from shared.runtime.postgres import Connection, Database, is_outage
from shared.runtime.stalls import StallDetector
from shared.views.operations import SCHEMA

POLL_S: Final = 1.0
READ_DEADLINE_S: Final = 3.0
KEPT_S: Final = 900.0
CURRENT_S: Final = POLL_S + READ_DEADLINE_S
"""Keys confirmed within this time are all there are."""
LEAST_PAUSE_S: Final = 0.2
"""Between two reads because of unknown keys: made-up keys cause no more than five small reads a second."""

REVISION: Final = "SELECT revision FROM api_keys_revision"
VALID_KEYS: Final = """
SELECT id, subject, digest, scopes, extract(epoch FROM expires_at)::float8 AS expires_at
FROM api_keys WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""


@dataclass(frozen=True, slots=True)
class StoredKey:
    subject: str
    digest: bytes
    scopes: frozenset[str]
    expires_at: float | None
    """Seconds since 1970."""


class ApiKeyCache:
    def __init__(
        self,
        operations_db_url: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._database = Database(operations_db_url, schema=SCHEMA, read_only=True, max_size=1)
        self._progress = StallDetector(stalled_after_s=READ_DEADLINE_S)
        self._reading = asyncio.Lock()
        self._clock = clock
        self._now = now
        self._keys: Mapping[str, StoredKey] = {}
        self._revision: int | None = None
        self._confirmed_at: float | None = None
        """When the keys were last known to be all there are."""
        self._tried_at = float("-inf")

    @property
    def trouble(self) -> str | None:
        """Why keys cannot be read."""
        return self._progress.trouble or (None if self._confirmed_at is not None else "API keys have not been read yet")

    async def run(self) -> None:
        """Read the keys again and again, until cancelled."""
        while True:
            with self._progress.step("reading API keys from the operations database") as step:
                while (error := await self._read()) is not None:
                    step.failed(error)
                    await asyncio.sleep(POLL_S)
            await asyncio.sleep(POLL_S)

    async def close(self) -> None:
        await self._database.close()

    async def identify(self, key: ApiKey, behind: str | None) -> Identity:
        """Raises UnauthorisedError; CredentialsUncheckedError where that cannot be said."""
        stored = self._keys.get(key.id)
        if stored is None:
            await self._read_for_unknown_key()
            stored = self._keys.get(key.id)
        age = float("inf") if self._confirmed_at is None else self._clock() - self._confirmed_at
        if age > KEPT_S or (stored is None and age > CURRENT_S):
            raise CredentialsUncheckedError
        if stored is None or not key.matches(stored.digest):
            raise UnauthorisedError(given=True)
        if stored.expires_at is not None and stored.expires_at <= self._now():
            raise UnauthorisedError(given=True)
        return Identity(stored.subject, stored.scopes, behind, stored.expires_at)

    async def _read_for_unknown_key(self) -> None:
        """It may have been created a moment ago: return when a read that began after this is done. All that wait share it."""
        arrived = self._clock()
        async with self._reading:
            if self._tried_at < arrived:
                await asyncio.sleep(max(0.0, LEAST_PAUSE_S - (self._clock() - self._tried_at)))
                await self._read_now()

    async def _read(self) -> BaseException | None:
        async with self._reading:
            return await self._read_now()

    async def _read_now(self) -> BaseException | None:
        """Read what has changed; the error, if the database is unavailable: then what is known stays."""
        self._tried_at = began = self._clock()
        try:
            async with asyncio.timeout(READ_DEADLINE_S):
                await self._database.read(self._refresh)
        except Exception as error:
            if not is_outage(error):
                raise
            return error
        self._confirmed_at = began
        return None

    async def _refresh(self, connection: Connection) -> None:
        if await connection.fetchval(REVISION) == self._revision:
            return
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            revision = await connection.fetchval(REVISION)
            rows = await connection.fetch(VALID_KEYS)
        self._keys = {
            row["id"]: StoredKey(row["subject"], row["digest"], frozenset(row["scopes"]), row["expires_at"])
            for row in rows
        }
        self._revision = revision
