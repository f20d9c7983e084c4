"""The key database: a key for each person, the list of those who are erased, and the secrets of claims and certificates.

An erased subject has no key, whatever stands in ``subject_keys``: a key that is made while the subject is being erased is never used, and
is deleted by the next call of ``destroy``.
"""

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

import asyncpg

from shared.privacy.sealing import Keys
from shared.runtime.postgres import Database
from shared.runtime.postgres import migrate as migrate_database

MIGRATIONS: Final = Path(__file__).parent / "migrations"
CLAIMS: Final = "claims"
"""The secret under which what is unique is hashed."""
CERTIFICATES: Final = "certificates"
"""The private key (Ed25519) that signs certificates of erasure."""

FIND_KEYS: Final = """
SELECT subject, CASE WHEN erased.subject IS NULL THEN key END AS key
FROM unnest($1::text[]) AS wanted (subject)
LEFT JOIN subject_keys AS known USING (subject) LEFT JOIN erased_subjects AS erased USING (subject)
WHERE known.subject IS NOT NULL OR erased.subject IS NOT NULL
"""
MAKE_KEYS: Final = """
INSERT INTO subject_keys (subject, key)
SELECT subject, key FROM unnest($1::text[], $2::bytea[]) AS new (subject, key)
WHERE NOT EXISTS (SELECT FROM erased_subjects AS erased WHERE erased.subject = new.subject)
ORDER BY subject
ON CONFLICT DO NOTHING
"""
MARK_ERASED: Final = "INSERT INTO erased_subjects (subject) VALUES ($1) ON CONFLICT DO NOTHING"
# Of all who are erased: also a key that was made at the same moment, or came back with a restored table.
DESTROY: Final = "DELETE FROM subject_keys USING erased_subjects AS erased WHERE subject_keys.subject = erased.subject"
ERASED: Final = "SELECT subject FROM erased_subjects ORDER BY subject"
HAS_KEY: Final = "SELECT EXISTS (SELECT FROM subject_keys WHERE subject = $1)"
ERASED_AT: Final = "SELECT erased_at FROM erased_subjects WHERE subject = $1"
SECRET: Final = "SELECT secret FROM secrets WHERE name = $1"  # noqa: S105 - a statement
MAKE_SECRET: Final = "INSERT INTO secrets (name, secret) VALUES ($1, $2) ON CONFLICT DO NOTHING"  # noqa: S105 - a statement


async def migrate(url: str) -> list[str]:
    return await migrate_database(url, sorted(MIGRATIONS.glob("*.sql")))


class KeyDatabase:
    """Raises errors for which ``is_outage`` is true while the server is unavailable."""

    def __init__(self, url: str, *, max_size: int = 2) -> None:
        self._database = Database(url, max_size=max_size)

    async def close(self) -> None:
        await self._database.close()

    async def keys(self, subjects: Collection[str], *, make: Collection[str] = ()) -> Keys:
        """The keys of these subjects, as they are now. ``make``: those of them for which a key is made if there is none."""
        if not subjects:
            return {}
        pool = await self._database.pool()
        found = await self._find(pool, sorted(subjects))
        if wanted := sorted(set(make) - found.keys()):
            await pool.execute(MAKE_KEYS, wanted, [os.urandom(32) for _ in wanted])
            found |= await self._find(pool, wanted)
        return found

    async def destroy(self, subject: str) -> None:
        """Erase the subject: from now on it has no key, and gets none. The key is deleted for good once this is committed."""
        pool = await self._database.pool()
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(MARK_ERASED, subject)
            await connection.execute(DESTROY)

    async def erased(self) -> list[str]:
        """All erased subjects."""
        pool = await self._database.pool()
        return [row["subject"] for row in await pool.fetch(ERASED)]

    async def secret(self, name: str) -> bytes:
        """32 random bytes, made when they are first asked for, and the same ever after."""
        pool = await self._database.pool()
        found: bytes | None = await pool.fetchval(SECRET, name)
        if found is None:
            await pool.execute(MAKE_SECRET, name, os.urandom(32))
            found = await pool.fetchval(SECRET, name)
        return bytes(found or b"")

    async def has_key(self, subject: str) -> bool:
        """Whether a key of the subject is stored, erased or not."""
        pool = await self._database.pool()
        return bool(await pool.fetchval(HAS_KEY, subject))

    @staticmethod
    async def _find(pool: asyncpg.Pool, subjects: Sequence[str]) -> dict[str, bytes | None]:
        rows = await pool.fetch(FIND_KEYS, subjects)
        return {row["subject"]: None if row["key"] is None else bytes(row["key"]) for row in rows}
