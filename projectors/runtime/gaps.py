"""Noticing what the broker has lost: pure.

The relay numbers the messages of each lane, within its epoch. A number that jumps, a new epoch, or a lane that has just become
ours puts the lane under suspicion: something may be missing, perhaps at the end of a stream, where no later event would show it.
While a lane is suspect its ``as_of`` stands still, so that the store never claims to be fresher than it is known to be; the suspicion
ends when the heads of the lane's streams have been compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from shared.messaging import topology

ASK_AGAIN_S: Final = 5.0


@dataclass(slots=True)
class Lane:
    epoch: str | None = None
    number: int = 0
    suspect: bool = True
    asked: str = ""
    """The id of the request for heads that is under way."""
    asked_at: float = float("-inf")
    whole: bool = False
    """Whether the heads of all streams are to be compared, however old."""


@dataclass(slots=True)
class GapDetector:
    lanes: dict[int, Lane] = field(default_factory=dict)

    def note(self, lane: int, headers: dict[str, Any]) -> None:
        """A message of the lane has come. One sent to this projection alone bears no number, and says nothing."""
        state = self.lanes.setdefault(lane, Lane())
        epoch, number = headers.get(topology.EPOCH_HEADER), headers.get(topology.SEQUENCE_HEADER)
        if not isinstance(epoch, str) or not isinstance(number, int):
            return
        if epoch == state.epoch and number <= state.number + 1:
            state.number = max(state.number, number)
            return
        state.epoch, state.number = epoch, number
        self._suspect(state)

    def doubt(self, lane: int, *, whole: bool = False) -> None:
        """The store knows less of the lane than it did: it was emptied, or set back. ``whole``: or it left out some of it, whenever."""
        state = self.lanes.setdefault(lane, Lane())
        state.whole = state.whole or whole
        self._suspect(state)

    def settle(self, lane: int, asked: str) -> None:
        """The last page of the answer has been compared."""
        state = self.lanes.setdefault(lane, Lane())
        if state.suspect and state.asked == asked:
            state.suspect, state.asked, state.whole = False, "", False

    def trusted(self, as_of: dict[int, datetime]) -> dict[int, datetime]:
        """Those heartbeats that may be believed."""
        return {lane: time for lane, time in as_of.items() if not self.lanes.setdefault(lane, Lane()).suspect}

    def to_ask(self, now: float) -> Sequence[int]:
        """Suspect lanes whose heads are to be asked for now; ``now`` is a monotonic clock's."""
        return [n for n, state in self.lanes.items() if state.suspect and now - state.asked_at >= ASK_AGAIN_S]

    def _suspect(self, state: Lane) -> None:
        state.suspect = True
        # An answer under way may not know of this loss yet: it has to be asked for again.
        state.asked, state.asked_at = "", float("-inf")
