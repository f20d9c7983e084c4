"""The schemas of the read stores: positions, holds and progress first, then each projection's own tables; in every generation."""

from functools import partial
from pathlib import Path
from typing import Final

from shared.read_models import StoreKind, named
from shared.runtime.postgres import CONNECT_TIMEOUT_S, connect
from shared.runtime.postgres import migrate as migrate_schema
from shared.runtime.roles import role_of
from shared.views.generations import FIRST, generation_name, registry_schema

NUMBERS: Final = "SELECT number FROM generations ORDER BY number"

_HERE: Final = Path(__file__).parent


def files(projector: str) -> list[Path]:
    """The projector's ``.sql`` files in the order in which they are applied."""
    return [*position_files(), *sorted((_HERE.parent / "models" / projector / "migrations").glob("*.sql"))]


def position_files() -> list[Path]:
    """The ``.sql`` files of the tables that every store in PostgreSQL has beside its data."""
    return [_HERE / f"{name}.sql" for name in ("positions", "discarded")]


def registry_files() -> list[Path]:
    """The ``.sql`` files of the registry of generations, in the order in which they are applied."""
    return [_HERE / f"{name}.sql" for name in ("generations", "generations_epochs", "generations_kinds")]


async def migrate(projector: str, url: str, *, schema: str | None = None) -> list[str]:
    """Migrate a projector's store, with all its generations and their registry; returns the names of the applied migrations.

    All of it is the projector's own: it makes and drops generations, and partitions, while it runs.
    ``schema``: migrate this one generation only. Safe to run at any time, also concurrently. Raises UnknownReadModelError.
    """
    if named(projector).store is not StoreKind.POSTGRES:
        return []
    migrate_one = partial(migrate_schema, url, owner=role_of(projector), readable=True)
    if schema is not None:
        return await migrate_one(files(projector), schema=schema)
    done = await migrate_one(registry_files(), schema=registry_schema(projector))
    for number in await _numbers(url, registry_schema(projector)):
        done += await migrate_one(files(projector), schema=generation_name(projector, number))
    return done


async def _numbers(url: str, registry: str) -> list[int]:
    connection = await connect(url, timeout=CONNECT_TIMEOUT_S, server_settings={"search_path": registry})
    try:
        return [row["number"] for row in await connection.fetch(NUMBERS)] or [FIRST]
    finally:
        await connection.close(timeout=CONNECT_TIMEOUT_S)
