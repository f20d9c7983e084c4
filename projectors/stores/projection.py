"""The runtime's description of a read model: how to make a store for one of its generations, and its registry.

Each read model defines it as ``PROJECTION`` in its ``store`` module.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from projectors.generations.registry import GenerationRegistry
from projectors.rebuild.history import MAX_RUNNING
from projectors.rebuild.pacing import BATCH_TARGET_S
from projectors.stores.modules import module_of
from projectors.stores.port import Store
from projectors.stores.postgres_registry import PostgresRegistry
from projectors.stores.postgres_store import PostgresStore
from shared.runtime.settings import Settings
from shared.views.generations import generation_name


@dataclass(frozen=True)
class Projection:
    store: Callable[[Settings, int], Store]
    """Makes the store of the generation with that number."""
    registry: Callable[[Settings], GenerationRegistry]
    history_batches: int = MAX_RUNNING
    """The most concurrent batches of history while no live events arrive."""
    batch_target_s: float = BATCH_TARGET_S
    """How long a batch of history may take beside live events."""


def in_postgres(name: str, store: Callable[[str, str], PostgresStore[Any]]) -> Projection:
    """The projection of a read model in PostgreSQL; ``store`` takes a URL and the schema of a generation."""
    return Projection(
        lambda settings, number: store(settings.store_url(name), generation_name(name, number)),
        lambda settings: PostgresRegistry(name, settings.store_url(name)),
    )


def projection_of(name: str) -> Projection:
    """The projection of the read model of that name. Raises UnknownReadModelError."""
    found: Projection = module_of(name, "store").PROJECTION
    return found
