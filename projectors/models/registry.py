"""What a read model consists of, found by its name: the modules of ``projectors/models/<name>/``.

``store`` has its ``PROJECTION``, ``projection`` its ``fold``, and ``tables``, where the store is in PostgreSQL, its ``TABLES``.
Each is imported when it is asked for: who wants the tables does not wait for what runs a projector.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from projectors.stores.port import Advance
from projectors.stores.tables import Table
from shared import read_models

if TYPE_CHECKING:
    from projectors.models.projection import Projection


def projection(name: str) -> "Projection":
    """Raises UnknownReadModelError."""
    found: Projection = _module(name, "store").PROJECTION
    return found


def fold(name: str) -> Callable[[Sequence[Advance]], Any]:
    """What events make of the read model's data: pure. Raises UnknownReadModelError."""
    found: Callable[[Sequence[Advance]], Any] = _module(name, "projection").fold
    return found


def tables(name: str) -> Sequence[Table[Any]]:
    """Of a read model in PostgreSQL, without the bookkeeping. Raises UnknownReadModelError."""
    found: Sequence[Table[Any]] = _module(name, "tables").TABLES
    return found


def _module(name: str, part: str) -> ModuleType:
    return import_module(f"projectors.models.{read_models.named(name).name}.{part}")
