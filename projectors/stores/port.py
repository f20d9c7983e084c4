"""The port between the consumer runtime and a read store.

The runtime decides *what* is applied (version gating, holds, splitting); a store applies it atomically:

    Commit ──store.commit──▶ data + positions + holds + progress change in one transaction (or one script)
                        ├──▶ StalePositionError   a position moved since it was read: nothing changed; read again
                        ├──▶ ProjectionError      the pure projection raised on one event: nothing changed
                        ├──▶ StoreUnavailableError   not caused by the events: nothing changed, or unknown; pause and try again
                        └──▶ any other error      caused by an event of the commit; split to find which

A commit whose outcome is unknown (the connection was lost) is safe to repeat: the versions show what has been applied.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol

import msgspec

from shared.contracts.values import EventData


class Event(msgspec.Struct, frozen=True, gc=False):
    """One decoded event, its data in the current class."""

    id: str
    type: str
    stream: str
    """``<kind>/<id>``, e.g. ``orders/o-17``."""
    version: int
    time: datetime
    data: EventData
    lane: int
    actor: str | None = None
    """The person or system that requested the change; None: the command named none."""
    traceparent: str | None = None
    """The trace of the command (W3C Trace Context), if it has one."""


UNREPORTED: Final = datetime(9999, 1, 1, tzinfo=UTC)
"""A time that never comes: ``due_at`` of a stream that died in a generation that is not active, so that no letter was written."""
IMPLAUSIBLE_DELAY: Final = timedelta(minutes=10)
"""No delay is this long: a hold that is due later, and not UNREPORTED, was written by a clock that was ahead."""
LATEST_DUE: Final = UNREPORTED - timedelta(days=1)


class HoldStatus(StrEnum):
    """Why a stream does not advance in this projection."""

    GAP = "gap"
    """An earlier event has not arrived; a resend has been requested."""
    RETRYING = "retrying"
    """``version`` failed and waits in a delay tier."""
    DEAD = "dead"
    """``version`` is a dead letter; an operator decides."""


@dataclass(frozen=True, slots=True)
class Hold:
    status: HoldStatus
    version: int
    """The version the stream waits for: always applied + 1."""
    seen: int
    """The highest version that has arrived so far; the events in between are read from the event store again."""
    attempts: int
    reason: str
    exception: str
    fingerprint: str
    first_failed_at: datetime
    last_failed_at: datetime
    due_at: datetime | None
    """When to request a resend, unless the hold changes before. None: never, it is dead and its letter is confirmed. UNREPORTED: it is dead
    in a generation that is not active."""


@dataclass(frozen=True, slots=True)
class Position:
    applied: int = 0
    hold: Hold | None = None
    discarded: frozenset[int] = frozenset()
    """Versions beyond ``applied`` that are to be stepped over: operators have discarded them."""


class Advance(msgspec.Struct, frozen=True, gc=False):
    """The next events of one stream, from ``expected + 1`` on, without gaps except for versions that are stepped over."""

    stream: str
    expected: int
    events: Sequence[Event]
    skipped: int = 0
    """How many versions between or after those are stepped over: an operator has discarded them."""

    @property
    def version(self) -> int:
        return self.expected + len(self.events) + self.skipped


@dataclass(frozen=True, slots=True)
class LaneProgress:
    """``as_of``: every event committed in the lane before this time has been seen; None: unchanged. ``events``: how many were applied."""

    as_of: datetime | None
    events: int


@dataclass(frozen=True, slots=True)
class Commit:
    """One atomic step. A stream in ``advances`` loses its hold unless it is in ``holds``."""

    advances: Sequence[Advance] = ()
    holds: Mapping[str, Hold] = field(default_factory=dict)
    released: Sequence[str] = ()
    """Streams whose holds are deleted, as those of all streams in ``advances`` are."""
    progress: Mapping[int, LaneProgress] = field(default_factory=dict)
    discarded: Sequence[tuple[str, int]] = ()
    """(stream, version) that operators have discarded, stepped over now or when it is next."""
    confirmed: Mapping[str, Hold] = field(default_factory=dict)
    """Dead holds whose letters the broker has confirmed: each loses its ``due_at`` if the stream is still dead since the same attempt."""


Turn = Callable[[], Awaitable[None]]
"""Returns when the caller may continue: work with a higher priority goes first."""


class StalePositionError(Exception):
    """Another writer advanced one of the commit's streams; nothing was written."""


class StoreUnavailableError(Exception):
    """The store cannot be reached or refuses all writes: an outage, never caused by an event. Or this generation has been dropped."""


class ProjectionError(Exception):
    """The projection raised on these events: the first failed event of each stream, each with its cause."""

    def __init__(self, event: Event, *others: tuple[Event, BaseException]) -> None:
        super().__init__(f"{event.stream}@{event.version} ({event.type})")
        self.event = event
        self._others = others

    @property
    def failures(self) -> Sequence[tuple[Event, BaseException]]:
        """Each event with its cause."""
        return ((self.event, self.__cause__ or self), *self._others)


class Store(Protocol):
    """One projection's store. The contract suite in ``tests/contract/test_store.py`` runs against each."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def positions(self, streams: Sequence[str]) -> dict[str, Position]:
        """The position of each stream; a stream never seen is at Position()."""

    async def behind(self, heads: Mapping[str, int]) -> dict[str, Position]:
        """The positions of the streams that are behind these heads (stream → version), except those held by a failed event whose ``seen``
        includes the head: such a hold is up to date."""

    async def commit(self, commit: Commit) -> None:
        """All of it or nothing; see the module's docstring for what it raises."""

    async def as_of(self) -> dict[int, datetime | None]:
        """Lane → every event committed in it before this time has been seen; None: unknown. A lane without progress is left out."""

    async def overdue(self, now: datetime, limit: int) -> Sequence[tuple[str, int]]:
        """(stream, applied) of holds whose ``due_at`` has passed, oldest first; each gets a later ``due_at`` (30 s on).

        Those whose ``due_at`` is IMPLAUSIBLE_DELAY or more ahead, at most LATEST_DUE, come after them.
        """

    async def unreported(self, now: datetime, limit: int) -> Sequence[tuple[str, int]]:
        """The same for holds whose ``due_at`` is UNREPORTED: dead events without a letter."""

    async def held_by_status(self) -> Mapping[HoldStatus, int]:
        """How many streams are held, by status; 0 for those of none."""

    async def release_others(self, kinds: Collection[str]) -> None:
        """Release the holds of all streams of other kinds."""

    async def complete(self, turn: Turn) -> None:
        """Do the work that is deferred while a generation is built: after all of history is applied, before it is ready.

        Most stores defer nothing. Awaits ``turn`` before each part. If interrupted, it has to be called again.
        """

    async def positions_page(self, cursor: str, limit: int) -> tuple[str, Sequence[tuple[str, int]]]:
        """The next page's cursor, and about ``limit`` streams with their applied versions, in the store's own order, some perhaps twice.

        The cursor "" begins; returned, it means that this page is the last.
        """

    async def discards(self, after: tuple[str, int], limit: int) -> Sequence[tuple[str, int]]:
        """(stream, version) of discarded events, past or future, in the store's own order, from ``after`` on (("", 0): all)."""
