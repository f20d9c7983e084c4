"""The schemas of process managers: positions, holds and progress, as every read store has them, then processes and their tables."""

from pathlib import Path
from typing import Final

from projectors.stores.migrations import position_files, registry_files
from shared.processes import folder_of
from shared.runtime.postgres import migrate as migrate_schema
from shared.views.generations import registry_schema

_HERE: Final = Path(__file__).parent


def files() -> list[Path]:
    """The ``.sql`` files of a process manager's schema, in the order in which they are applied."""
    return [*position_files(), *sorted((_HERE / "migrations").glob("*.sql"))]


async def migrate(name: str, url: str) -> list[str]:
    """Migrate the schema of one process manager; returns the names of the applied migrations. Safe to run at any time."""
    schema = folder_of(name)
    done = await migrate_schema(url, registry_files(), schema=registry_schema(schema), readable=True)
    return done + await migrate_schema(url, files(), schema=schema, readable=True)
