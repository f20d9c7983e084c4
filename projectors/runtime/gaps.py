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

REQUEST_INTERVAL_S: Final = 5.0


@dataclass(slots=True)
class Lane:
    epoch: str | None = None
    number: int = 0
    suspect: bool = True
    request_id: str = ""
    """The id of the request for heads that is under way."""
    requested_at: float = float("-inf")
    all_streams: bool = False
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
        self._mark_suspect(state)

    def suspect(self, lane: int, *, all_streams: bool = False) -> None:
        """Suspect the lane: the store has lost some of it (emptied, or restored from a backup). ``all_streams``: compare all its streams."""
        state = self.lanes.setdefault(lane, Lane())
        state.all_streams = state.all_streams or all_streams
        self._mark_suspect(state)

    def clear(self, lane: int, request_id: str) -> None:
        """The last page of the answer has been compared."""
        state = self.lanes.setdefault(lane, Lane())
        if state.suspect and state.request_id == request_id:
            state.suspect, state.request_id, state.all_streams = False, "", False

    def trusted(self, as_of: dict[int, datetime]) -> dict[int, datetime]:
        """Those heartbeats that may be believed."""
        return {lane: time for lane, time in as_of.items() if not self.lanes.setdefault(lane, Lane()).suspect}

    def due_requests(self, now: float) -> Sequence[int]:
        """Suspect lanes whose heads are to be asked for now; ``now`` is a monotonic clock's."""
        return [
            n for n, state in self.lanes.items() if state.suspect and now - state.requested_at >= REQUEST_INTERVAL_S
        ]

    def _mark_suspect(self, state: Lane) -> None:
        state.suspect = True
        # An answer under way may not know of this loss yet: it has to be asked for again.
        state.request_id, state.requested_at = "", float("-inf")
