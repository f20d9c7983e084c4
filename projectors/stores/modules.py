"""The modules of a read model, found by its name."""

from importlib import import_module
from types import ModuleType

from shared import read_models


def module_of(name: str, part: str) -> ModuleType:
    """``projectors/models/<name>/<part>.py``. Raises UnknownReadModelError."""
    return import_module(f"projectors.models.{read_models.named(name).name}.{part}")
