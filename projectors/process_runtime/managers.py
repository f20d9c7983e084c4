"""The process managers, found by name: ``PROCESS`` of ``projectors/processes/<folder>/process.py``."""

from importlib import import_module

from projectors.processes.process import ProcessManager
from shared import processes


def manager_named(name: str) -> ProcessManager:
    """Raises UnknownProcessError; TypeError where the module declares another name or other kinds than ``shared/processes.py``."""
    declared = processes.named(name)
    found: ProcessManager = import_module(f"projectors.processes.{declared.folder}.process").PROCESS
    if (found.name, tuple(found.kinds)) != (declared.name, tuple(declared.kinds)):
        raise TypeError(f"{declared.folder}/process.py declares {found.name!r} of {found.kinds}, not {declared}")
    return found
