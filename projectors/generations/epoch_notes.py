"""The registry operations that record epochs, comparisons and adoptions of a generation: the same in every store."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from projectors.generations import epochs
from shared.views.generations import Generation

Change = Callable[[Generation], dict[str, object]]
"""Generation → the fields of its row to change; an empty result changes nothing."""


class EpochNotes(ABC):
    @abstractmethod
    async def note_epochs(self, number: int, change: Change) -> None:
        """Change the generation's row, if it exists: read and written in one transaction."""

    async def record_epoch(self, number: int, epoch: str) -> None:
        await self.note_epochs(number, lambda generation: epochs.changes_on_new_epoch(generation, epoch))

    async def compared(
        self, number: int, epoch: str, cursor: str, following: str, last: bool, ahead: Sequence[str]
    ) -> None:
        await self.note_epochs(
            number,
            lambda generation: epochs.changes_on_comparing(generation, epoch, cursor, following, last, list(ahead)),
        )

    async def adopt(self, number: int) -> None:
        await self.note_epochs(number, epochs.changes_on_adopting)
