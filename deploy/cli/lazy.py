"""Groups of commands whose modules are imported when one of their commands is wanted: nobody waits for drivers of what he does not do."""

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_group


def lazy_group(module: str, help_: str) -> typer.Typer:
    """Stands in for the module's ``app``, which takes over as soon as it is called. ``help_``: the first line of its help."""

    class Later(TyperGroup):
        def make_context(self, *args: Any, **extra: Any) -> Any:
            return get_group(import_module(module).app).make_context(*args, **extra)

    return typer.Typer(cls=Later, help=help_)
