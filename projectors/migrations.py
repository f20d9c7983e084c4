"""The schemas of the read stores: positions, holds and progress first, then each projection's own tables."""

from pathlib import Path
from typing import Final

from shared.postgres import migrate as migrate_schema
from shared.views import search, summary
from shared.views.generations import registry_schema

SCHEMAS: Final = {"summary": summary.SCHEMA, "search": search.SCHEMA}
"""Projector → schema of the live generation. A projector that is not here has nothing to migrate."""

_HERE: Final = Path(__file__).parent


def files(projector: str) -> list[Path]:
    """The projector's ``.sql`` files in the order in which they are applied."""
    return [_HERE / "positions.sql", *sorted((_HERE / projector / "migrations").glob("*.sql"))]


async def migrate(projector: str, url: str, *, schema: str | None = None) -> list[str]:
    """Bring a projector's store up to date, its registry of generations too; returns the names of what was applied.

    ``schema`` names one generation, other than the first, that alone is to be migrated. Safe to run at any time and by several at once.
    """
    first = SCHEMAS.get(projector)
    if first is None:
        return []
    if schema is not None:
        return await migrate_schema(url, files(projector), schema=schema, readable=True)
    done = await migrate_schema(url, [_HERE / "generations.sql"], schema=registry_schema(first), readable=True)
    return done + await migrate_schema(url, files(projector), schema=first, readable=True)
