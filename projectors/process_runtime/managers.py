"""The process managers, found by name: ``PROCESS`` of ``projectors/processes/<folder>/process.py``.

A module whose rules have settings also defines ``configured(settings)``; ``PROCESS`` is then the one with their defaults.
"""

from importlib import import_module

from projectors.processes.process import ProcessManager
from shared import processes
from shared.runtime.settings import Settings


def manager_named(name: str, settings: Settings | None = None) -> ProcessManager:
    """``settings``: None is their defaults.

    Raises UnknownProcessError; TypeError where the module declares another name or other kinds than ``shared/processes.py``."""
    declared = processes.named(name)
    module = import_module(f"projectors.processes.{declared.folder}.process")
    configured = getattr(module, "configured", None)
    found: ProcessManager = module.PROCESS if configured is None or settings is None else configured(settings)
    if (found.name, tuple(found.kinds)) != (declared.name, tuple(declared.kinds)):
        raise TypeError(f"{declared.folder}/process.py declares {found.name!r} of {found.kinds}, not {declared}")
    return found
