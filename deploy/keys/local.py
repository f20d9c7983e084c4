"""The ready key of ``tidemark up``: made once, kept in a file that only its owner can read, so that the first minutes need no set-up."""

import asyncio
from pathlib import Path
from typing import Final

from deploy.keys import store
from deploy.private_file import write_private
from shared.http.identities.api_keys import ApiKey, parse
from shared.http.identities.scopes import EVERYTHING
from shared.runtime.settings import Settings

SUBJECT: Final = "developer"
REASON: Final = "the ready key of tidemark up"

IS_VALID: Final = """
SELECT EXISTS (
    SELECT FROM api_keys WHERE id = $1 AND digest = $2 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
)
"""
LIVE_OF: Final = """
SELECT id FROM api_keys WHERE subject = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""


async def ready_key(settings: Settings, path: Path) -> tuple[ApiKey, bool]:
    """A key with all scopes, and whether it is new. ``path``: where it is kept; a key there that is not valid is replaced."""
    async with store.operations_database(settings) as connection:
        kept = parse(await asyncio.to_thread(_read, path))
        if kept is not None and await connection.fetchval(IS_VALID, kept.id, kept.digest):
            return kept, False
        for row in await connection.fetch(LIVE_OF, SUBJECT):
            await store.revoke(connection, row["id"], actor=SUBJECT, reason="its file is gone")
        made = await store.create(connection, SUBJECT, [EVERYTHING], None, actor=SUBJECT, reason=REASON)
    path.parent.mkdir(parents=True, exist_ok=True)
    await asyncio.to_thread(write_private, path, f"{made.key}\n")
    return made.key, True


def _read(path: Path) -> str:
    return path.read_text().strip() if path.is_file() else ""
