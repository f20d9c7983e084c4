"""The port to a store's registry of generations; see ``shared.views.generations`` for what is in it.

It lives in the store that it speaks of, so that both are lost, or restored, together. Every change is one transaction, and
harmless when it is made twice. The contract suite in ``tests/contract/test_generation_registry.py`` runs against each implementation.
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
"""What a missing or empty registry means."""


@dataclass(frozen=True, slots=True)
class AppliedPage:
    """A page of history that has been applied: ``events`` from behind ``after`` up to ``last``."""

    after: tuple[str, int]
    last: tuple[str, int]
    events: int
    total: int | None
    read_at: datetime
    done: bool


class GenerationRegistry(Protocol):
    """Each method raises StoreUnavailableError while the store is away."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def generations(self) -> Sequence[Generation]:
        """By number; never empty: a registry that is missing or empty has ALONE."""

    async def begin(self, number: int, *, kinds: Sequence[str], rate: float | None, by: str) -> None:
        """A new generation, building: its place empty but for what is discarded in the active one. Nothing where there is one already.

        ``kinds``: the kinds of stream that it will have.
        """

    async def claim(self, seen: Generation) -> bool:
        """Renew its ``updated_at``; False, and nothing happens, where somebody has done so since it was ``seen``."""

    async def touch(self, number: int) -> None:
        """Renew ``updated_at``: somebody is at work."""

    async def scanned(self, number: int, page: AppliedPage) -> bool:
        """Move the cursor from ``after`` to ``last``; False, and nothing happens, where it is elsewhere."""

    async def settled(self, number: int, lane: int) -> None:
        """The lane's heads have been compared since all of history was applied."""

    async def ready(self, number: int) -> None: ...

    async def activate(self, number: int, *, by: str) -> bool:
        """From one moment to the next it is the one that is read; False, and nothing happens, unless it is there and ready."""

    async def record_epoch(self, number: int, epoch: str) -> None:
        """It has heard of this epoch; see ``projectors.generations.epochs`` for what that means."""

    async def compared(
        self, number: int, epoch: str, cursor: str, following: str, last: bool, ahead: Sequence[str]
    ) -> None:
        """The portion of its streams from ``cursor`` on has been compared. Nothing where the comparison is elsewhere."""

    async def adopt(self, number: int) -> None:
        """It goes on in the epoch that it has heard of, whatever is ahead. Nothing where there is none."""

    async def note_kinds(self, number: int, before: Sequence[str] | None, kinds: Sequence[str]) -> bool:
        """Record the kinds of stream that it has; False, and nothing changes, if the recorded ones are not ``before``."""

    async def drop(self, number: int) -> None:
        """Forget it, then its data, unless it is active. Called off in the middle, it is to be called again."""
