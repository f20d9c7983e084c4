"""The schema of the operations database."""

from pathlib import Path
from typing import Final

from shared.runtime.postgres import migrate as migrate_schema
from shared.views.operations import SCHEMA

FILES: Final = tuple(sorted((Path(__file__).parent / "migrations").glob("*.sql")))


async def migrate(url: str) -> list[str]:
    """Bring the operations database up to date; returns the names of what was applied. Safe to run at any time."""
    return await migrate_schema(url, FILES, schema=SCHEMA, readable=True)
