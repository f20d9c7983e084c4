"""What a generation hears of epochs, has compared and adopts, as its registry notes it: the same in every store."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from projectors.generations import epochs
from shared.views.generations import Generation

Change = Callable[[Generation], dict[str, object]]
"""Given a generation, what of its row is to be another; nothing where it is empty."""


class EpochNotes(ABC):
    @abstractmethod
    async def note_epochs(self, number: int, change: Change) -> None:
        """Change the generation's row, where there is one: read and written in one transaction."""

    async def record_epoch(self, number: int, epoch: str) -> None:
        await self.note_epochs(number, lambda at: epochs.changes_on_new_epoch(at, epoch))

    async def compared(
        self, number: int, epoch: str, cursor: str, following: str, last: bool, ahead: Sequence[str]
    ) -> None:
        await self.note_epochs(
            number, lambda at: epochs.changes_on_comparing(at, epoch, cursor, following, last, list(ahead))
        )

    async def adopt(self, number: int) -> None:
        await self.note_epochs(number, epochs.changes_on_adopting)
