"""Detects messages that the broker has lost: pure.

The relay numbers the messages of each lane, within its epoch. A gap in the numbers, a new epoch, or a lane that this process has just
taken over makes the lane suspect: an event may be missing, perhaps the last of a stream, which no later event would reveal.
While a lane is suspect its ``as_of`` does not advance, so that the store never claims to be fresher than it is known to be. The lane is
trusted again when the heads of its streams have been compared.
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
    """The id of the pending request for heads."""
    requested_at: float = float("-inf")
    all_streams: bool = False
    """Whether to compare the heads of all streams, not only of recently changed ones."""


@dataclass(slots=True)
class GapDetector:
    lanes: dict[int, Lane] = field(default_factory=dict)

    def note(self, lane: int, headers: dict[str, Any]) -> None:
        """Record a message of the lane. A message sent to this projection alone has no number and changes nothing."""
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
        """Suspect the lane, because the store has lost some of it (was emptied or restored). ``all_streams``: compare all its streams."""
        state = self.lanes.setdefault(lane, Lane())
        state.all_streams = state.all_streams or all_streams
        self._mark_suspect(state)

    def clear(self, lane: int, request_id: str) -> None:
        """Trust the lane again: the last page of the reply to this request has been compared."""
        state = self.lanes.setdefault(lane, Lane())
        if state.suspect and state.request_id == request_id:
            state.suspect, state.request_id, state.all_streams = False, "", False

    def trusted(self, as_of: dict[int, datetime]) -> dict[int, datetime]:
        """The entries of lanes that are not suspect. ``as_of``: lane → a heartbeat's ``asof``."""
        return {lane: time for lane, time in as_of.items() if not self.lanes.setdefault(lane, Lane()).suspect}

    def due_requests(self, now: float) -> Sequence[int]:
        """Suspect lanes whose heads are to be requested now; ``now`` is a monotonic clock's."""
        return [
            n for n, state in self.lanes.items() if state.suspect and now - state.requested_at >= REQUEST_INTERVAL_S
        ]

    def _mark_suspect(self, state: Lane) -> None:
        state.suspect = True
        # A pending reply may predate this loss: the heads have to be requested again.
        state.request_id, state.requested_at = "", float("-inf")
