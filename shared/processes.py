"""The process managers: one line each. Everything that has to know which there are derives it from here.

A process manager of this name has its folder in ``projectors/processes/``, with underscores for hyphens, where the module ``process``
declares ``PROCESS``. README, "A new process manager", has the recipe.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from shared import read_models
from shared.contracts.registry import KINDS


def folder_of(name: str) -> str:
    return name.replace("-", "_")


@dataclass(frozen=True)
class DeclaredProcess:
    name: str
    kinds: Sequence[str]
    """The kinds of stream that it reads, first that of the streams that begin its processes."""

    @property
    def folder(self) -> str:
        """Its folder, and its schema in the database of ``TIDEMARK_PROCESSES_DB_URL``."""
        return folder_of(self.name)


PROCESSES: Final[tuple[DeclaredProcess, ...]] = (
    DeclaredProcess("fulfilment", ("orders", "payments")),
    DeclaredProcess("appointment-reminders", ("bookings",)),
)

NAMES: Final = tuple(process.name for process in PROCESSES)
_BY_NAME: Final[Mapping[str, DeclaredProcess]] = {process.name: process for process in PROCESSES}


def check(processes: Sequence[DeclaredProcess]) -> None:
    """Raises TypeError for a name that is there twice or is a read model's, and for a kind of stream that no context has."""
    taken = [*read_models.NAMES]
    for process in processes:
        if process.name in taken or process.folder in taken:
            raise TypeError(f"the name of the process manager {process.name!r} in shared/processes.py is taken")
        taken.append(process.name)
        if unknown := [kind for kind in process.kinds if kind not in KINDS]:
            raise TypeError(
                f"the process manager {process.name!r} reads {', '.join(unknown)}, a kind that no context has;"
                f" there are {', '.join(KINDS)}"
            )


check(PROCESSES)


class UnknownProcessError(LookupError):
    """There is no process manager of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no process manager {name!r}; there are {', '.join(NAMES) or 'none'}")


def source_of(name: str) -> str:
    """The ``source`` of the commands of a process manager."""
    return f"tidemark/processes/{name}"


def named(name: str) -> DeclaredProcess:
    """Raises UnknownProcessError, which says which there are."""
    try:
        return _BY_NAME[name]
    except KeyError as error:
        raise UnknownProcessError(name) from error
