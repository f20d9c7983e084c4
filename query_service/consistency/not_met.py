"""412: the projection has not applied the requested version: which projection, its version and lag, and what holds the stream."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

from query_service.consistency.as_of import HEADER as AS_OF
from query_service.stores.port import StreamPosition
from shared.http.problems import Problem, ProblemDocument

NOT_MET: Final = "consistency-not-met"
HELD: Final = "stream-held"
OTHER_EPOCH: Final = "epoch-changed"


class UnmetDocument(ProblemDocument, frozen=True, omit_defaults=True, kw_only=True):
    """412: the projection has not applied a version requested with Tidemark-Consistency."""

    projection: str | None = None
    generation: int | None = None
    stream: str | None = None
    required: int | None = None
    """The requested version."""
    applied: int | None = None
    """The version that the projection has applied; 0: it has nothing of the stream."""
    lag_seconds: float | None = None
    """Age of `Tidemark-As-Of`: everything committed before then is in this projection. Absent before the first heartbeat."""
    held: str | None = None
    """Why the stream does not advance: `gap`, `retrying` or `dead`."""
    reason: str | None = None
    """The code of the reason why it is held."""
    letter_id: int | None = None
    """The dead letter that holds it, if the operations database has it."""
    letter: str | None = None
    """The path of that letter."""
    epoch: str | None = None
    """The epoch of the generation, if it differs from the requested one."""


class ConsistencyNotMetError(Problem):
    """``epoch``: the generation's, if the request named another. ``incomplete``: why the generation has no streams of that kind."""

    status = HTTPStatus.PRECONDITION_FAILED

    def __init__(
        self,
        *,
        projection: str,
        generation: int,
        stream: str,
        required: int,
        position: StreamPosition,
        headers: dict[str, str],
        letter_id: int | None = None,
        epoch: str | None = None,
        incomplete: str | None = None,
    ) -> None:
        hold = position.hold
        lag = _lag(headers.get(AS_OF))
        code, why = NOT_MET, ""
        if epoch is not None:
            code, why = OTHER_EPOCH, f"; it was built in epoch {epoch}, the write belongs to another"
        elif incomplete is not None:
            why = f"; it {incomplete}"
        elif hold is not None and hold.dead:
            code, why = HELD, f"; a dead letter holds the stream at version {hold.version}: {hold.reason}"
        elif hold is not None:
            why = f"; the stream is held at version {hold.version} ({hold.status}): {hold.reason}"
        elif lag is not None:
            why = f"; it is {lag:.1f} s behind"
        detail = f"the {projection} projection has {stream} at version {position.applied}, not yet at {required}{why}"
        if letter_id is not None:
            detail += f"; see /dead-letters/{letter_id}"
        members = {
            "projection": projection,
            "generation": generation,
            "stream": stream,
            "required": required,
            "applied": position.applied,
            "lag_seconds": lag,
            "held": hold.status if hold else None,
            "reason": hold.reason if hold else None,
            "letter_id": letter_id,
            "letter": None if letter_id is None else f"/dead-letters/{letter_id}",
            "epoch": epoch,
        }
        present = {name: value for name, value in members.items() if value is not None}
        super().__init__(detail, code=code, headers=headers, members=present)


def _lag(as_of: str | None) -> float | None:
    if as_of is None:
        return None
    return round(max(0.0, (datetime.now(UTC) - datetime.fromisoformat(as_of)).total_seconds()), 3)
