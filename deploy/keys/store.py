"""API keys in the operations database: created, rotated and revoked, each with its line in the audit in the same transaction.

A subject has at most MAX_LIVE keys at a time: the one in use, and the one that will replace it. The services notice a change within seconds
(``shared/http/identities/key_cache.py``).
"""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg

from deploy.errors import ServerUnavailableError
from projectors.dead_letters.actions.audit import record
from shared.http.identities.api_keys import ApiKey, generate
from shared.runtime.postgres import CONNECT_TIMEOUT_S, Connection
from shared.runtime.settings import Settings
from shared.views.operations import SCHEMA

MAX_LIVE: Final = 2

LOCK_SUBJECT: Final = "SELECT pg_advisory_xact_lock(hashtextextended('tidemark key of ' || $1, 0))"
COUNT_LIVE: Final = """
SELECT count(*) FROM api_keys WHERE subject = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""
CREATE: Final = """
INSERT INTO api_keys (id, subject, digest, scopes, created_by, expires_at, replaces)
VALUES ($1, $2, $3, $4, $5, now() + $6::interval, $7) RETURNING expires_at
"""
KEY: Final = """
SELECT id, subject, scopes, created_at, created_by, expires_at, revoked_at, revoked_by, replaces,
    CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= now() THEN 'expired' ELSE 'live' END AS state
FROM api_keys WHERE id = $1
"""
KEYS: Final = """
SELECT id, subject, scopes, created_at, created_by, expires_at, revoked_at, revoked_by, replaces,
    CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= now() THEN 'expired' ELSE 'live' END AS state
FROM api_keys
WHERE ($1::text IS NULL OR subject = $1) AND ($2 OR (revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())))
ORDER BY subject, created_at LIMIT $3
"""
REVOKE: Final = "UPDATE api_keys SET revoked_at = now(), revoked_by = $2 WHERE id = $1 AND revoked_at IS NULL"
END_IN: Final = """
UPDATE api_keys SET expires_at = least(coalesce(expires_at, 'infinity'), now() + $2::interval) WHERE id = $1 RETURNING expires_at
"""


class KeysError(Exception):
    """The keys are not as they would have to be; the message says what is."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """``key`` is nowhere else: it is handed out once. ``old_expires_at``: of the key that it replaces."""

    key: ApiKey
    subject: str
    scopes: Sequence[str]
    expires_at: datetime | None
    old_expires_at: datetime | None = None


@asynccontextmanager
async def operations_database(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    """Raises ServerUnavailableError for a URL that is none, MissingSettingError, and the server's errors."""
    url = settings.require("operations_db_url")
    session = {"search_path": f"{SCHEMA}, public", "timezone": "UTC", "application_name": "tidemark keys"}
    try:
        connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S, server_settings=session)
    except ValueError as error:
        raise ServerUnavailableError(f"TIDEMARK_OPERATIONS_DB_URL is no address of a database: {error}") from error
    try:
        yield connection
    finally:
        connection.terminate()


async def create(
    connection: asyncpg.Connection,
    subject: str,
    scopes: Sequence[str],
    lifetime: timedelta | None,
    *,
    actor: str,
    reason: str,
) -> NewKey:
    """``lifetime``: None: the key does not expire. Raises KeysError where the subject has MAX_LIVE keys."""
    async with connection.transaction():
        made = await _insert(connection, subject, scopes, lifetime, actor, None)
        details = {"key": made.key.id, "subject": subject, "scopes": list(scopes), "expires_at": _text(made.expires_at)}
        await record(connection, actor, "create-key", reason, details=json.dumps(details))
    return made


async def rotate(
    connection: asyncpg.Connection,
    key_id: str,
    lifetime: timedelta | None,
    overlap: timedelta,
    *,
    actor: str,
    reason: str,
) -> NewKey:
    """A new key like this one, which is valid for ``overlap`` more. Raises KeysError: there is no such live key, or its subject has two."""
    async with connection.transaction():
        old = await _live(connection, key_id)
        made = await _insert(connection, old["subject"], old["scopes"], lifetime, actor, key_id)
        ends = await connection.fetchval(END_IN, key_id, overlap)
        details = {"key": made.key.id, "subject": made.subject, "replaces": key_id, "old_expires_at": _text(ends)}
        await record(connection, actor, "rotate-key", reason, details=json.dumps(details))
    return NewKey(made.key, made.subject, made.scopes, made.expires_at, ends)


async def revoke(connection: asyncpg.Connection, key_id: str, *, actor: str, reason: str) -> str:
    """The subject whose key it was. Raises KeysError: there is no such key, or it has been revoked before."""
    async with connection.transaction():
        row = await connection.fetchrow(KEY, key_id)
        if row is None:
            raise KeysError(f"there is no key {key_id}")
        if await connection.execute(REVOKE, key_id, actor) == "UPDATE 0":
            raise KeysError(f"{key_id} was revoked at {_text(row['revoked_at'])} by {row['revoked_by']}")
        details = {"key": key_id, "subject": row["subject"]}
        await record(connection, actor, "revoke-key", reason, details=json.dumps(details))
    subject: str = row["subject"]
    return subject


async def listed(
    connection: asyncpg.Connection, subject: str | None, limit: int, *, everything: bool
) -> Sequence[dict[str, Any]]:
    """Live keys, or all that there ever were, without their digests."""
    return [dict(row) for row in await connection.fetch(KEYS, subject, everything, limit)]


async def _insert(
    connection: Connection,
    subject: str,
    scopes: Sequence[str],
    lifetime: timedelta | None,
    actor: str,
    replaces: str | None,
) -> NewKey:
    await connection.execute(LOCK_SUBJECT, subject)
    if await connection.fetchval(COUNT_LIVE, subject) >= MAX_LIVE:
        raise KeysError(f"{subject} has {MAX_LIVE} keys already: revoke one first (tidemark keys list)")
    key = generate()
    expires_at = await connection.fetchval(CREATE, key.id, subject, key.digest, list(scopes), actor, lifetime, replaces)
    return NewKey(key, subject, scopes, expires_at)


async def _live(connection: Connection, key_id: str) -> asyncpg.Record:
    row = await connection.fetchrow(KEY, key_id)
    if row is None:
        raise KeysError(f"there is no key {key_id}")
    if row["state"] != "live":
        raise KeysError(f"{key_id} is {row['state']}: create a new key instead")
    return row


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()
