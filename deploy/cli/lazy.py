"""Command groups whose modules are imported only when one of their commands is called, so that other commands load no drivers for them."""

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_group


def lazy_group(module: str, help_: str) -> typer.Typer:
    """A placeholder for the module's ``app``, which is imported when the group is called. ``help_``: the first line of its help."""

    class LazyGroup(TyperGroup):
        def make_context(self, *args: Any, **extra: Any) -> Any:
            return get_group(import_module(module).app).make_context(*args, **extra)

    return typer.Typer(cls=LazyGroup, help=help_)
