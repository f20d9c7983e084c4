"""The projection of each read model: ``PROJECTION`` of its ``store`` module."""

from importlib import import_module

from projectors.models.projection import Projection
from shared import read_models


def projection(name: str) -> Projection:
    """Raises UnknownReadModelError."""
    found: Projection = import_module(f"projectors.models.{read_models.named(name).name}.store").PROJECTION
    return found
