"""The port to a store's registry of generations; see ``shared.views.generations`` for its content.

It is kept in the store that it describes, so that both are lost, or restored, together. Every change is one idempotent transaction.
The contract suite in ``tests/contract/test_generation_registry.py`` runs against each implementation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from shared.views.generations import FIRST, Generation, GenerationState

UNIX_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
DEFAULT_GENERATION: Final = Generation(
    number=FIRST,
    state=GenerationState.READY,
    active=True,
    begun_at=UNIX_EPOCH,
    updated_at=UNIX_EPOCH,
    ready_at=UNIX_EPOCH,
    activated_at=UNIX_EPOCH,
)
"""The only generation of a missing or empty registry."""


@dataclass(frozen=True, slots=True)
class AppliedPage:
    """A page of history that has been applied: ``events`` events after the cursor ``after``, up to and including ``last``."""

    after: tuple[str, int]
    last: tuple[str, int]
    events: int
    total: int | None
    read_at: datetime
    done: bool


class GenerationRegistry(Protocol):
    """Each method raises StoreUnavailableError while the store is unavailable."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def generations(self) -> Sequence[Generation]:
        """By number; never empty: a registry that is missing or empty has DEFAULT_GENERATION."""

    async def begin(self, number: int, *, kinds: Sequence[str], rate: float | None, by: str) -> None:
        """Begin to build a generation: its store is empty except for the active one's discarded events. No effect if it exists already.

        ``kinds``: the kinds of stream that it will have.
        """

    async def claim(self, seen: Generation) -> bool:
        """Renew its ``updated_at``; False, and nothing changes, if that has changed since it was ``seen``."""

    async def touch(self, number: int) -> None:
        """Renew ``updated_at``: a process is building it."""

    async def scanned(self, number: int, page: AppliedPage) -> bool:
        """Move the cursor from ``after`` to ``last``; False, and nothing changes, if it is not at ``after``."""

    async def settled(self, number: int, lane: int) -> None:
        """Record that the lane's heads have been compared since all of history was applied."""

    async def ready(self, number: int) -> None: ...

    async def activate(self, number: int, *, by: str) -> bool:
        """Make it the generation that is read, atomically; False, and nothing changes, unless it exists and is ready."""

    async def record_epoch(self, number: int, epoch: str) -> None:
        """Record that it has received this epoch; see ``projectors.generations.epochs`` for what follows."""

    async def compared(
        self, number: int, epoch: str, cursor: str, following: str, last: bool, ahead: Sequence[str]
    ) -> None:
        """Record that the page of its streams from ``cursor`` on has been compared. No effect if the comparison is not at ``cursor``."""

    async def adopt(self, number: int) -> None:
        """Adopt the new epoch that it has recorded, whatever is ahead. No effect if there is none."""

    async def note_kinds(self, number: int, before: Sequence[str] | None, kinds: Sequence[str]) -> bool:
        """Record the kinds of stream that it has; False, and nothing changes, if the recorded ones are not ``before``."""

    async def drop(self, number: int) -> None:
        """Delete its row, then its data, unless it is active. If interrupted, it has to be called again."""
