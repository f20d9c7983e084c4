"""The port between the consumer runtime and a read store.

The runtime decides *what* may be applied (version gating, holds, splitting); a store makes it so, whole or not at all:

    Commit ──store.commit──▶ data + positions + holds + progress change in one transaction (or one script)
                        ├──▶ StalePositionError   a position moved since it was read: nothing changed; read again
                        ├──▶ ProjectionError      the pure projection raised on one event: nothing changed
                        ├──▶ StoreUnavailableError   not the events' fault: nothing changed, or unknown; pause and try again
                        └──▶ anything else        some event of the commit is at fault; split to find which

A commit whose outcome is unknown (the connection went away) is safe to repeat: the versions tell what has been applied.
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


UNREPORTED: Final = datetime(9999, 1, 1, tzinfo=UTC)
"""A time that never comes: ``due_at`` of a stream that died in a generation nobody reads, so that no letter was written."""
IMPLAUSIBLE_DELAY: Final = timedelta(minutes=10)
"""Nothing is put off for so long: a hold that is due later, and not OWED, was written by a clock that was ahead."""
LATEST_DUE: Final = UNREPORTED - timedelta(days=1)


class HoldStatus(StrEnum):
    """Why a stream does not advance in this projection."""

    GAP = "gap"
    """An earlier event has not come; it has been asked for."""
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
    """The highest version that has come by so far; those between wait in the event store."""
    attempts: int
    reason: str
    exception: str
    fingerprint: str
    first_failed_at: datetime
    last_failed_at: datetime
    due_at: datetime | None
    """When to ask for a resend, unless something comes first. None: never; dead, its letter confirmed. OWED: dead where nobody reads."""


@dataclass(frozen=True, slots=True)
class Position:
    applied: int = 0
    hold: Hold | None = None
    discarded: frozenset[int] = frozenset()
    """Versions beyond ``applied`` that are to be stepped over: operators have discarded them."""


class Advance(msgspec.Struct, frozen=True, gc=False):
    """The events of one stream that are next, without holes but for what is stepped over: ``expected + 1`` first."""

    stream: str
    expected: int
    events: Sequence[Event]
    skipped: int = 0
    """How many events between or after those are stepped over: an operator has discarded them."""

    @property
    def version(self) -> int:
        return self.expected + len(self.events) + self.skipped


@dataclass(frozen=True, slots=True)
class LaneProgress:
    """``as_of``: everything committed in the lane before this time has been seen; None: says nothing new."""

    as_of: datetime | None
    events: int


@dataclass(frozen=True, slots=True)
class Commit:
    """One atomic step. A stream in ``advances`` loses its hold unless ``holds`` gives it one."""

    advances: Sequence[Advance] = ()
    holds: Mapping[str, Hold] = field(default_factory=dict)
    released: Sequence[str] = ()
    """Held streams that are held no longer (all in ``advances``)."""
    progress: Mapping[int, LaneProgress] = field(default_factory=dict)
    discarded: Sequence[tuple[str, int]] = ()
    """(stream, version) that operators have discarded, stepped over now or to be stepped over when it is their turn."""
    confirmed: Mapping[str, Hold] = field(default_factory=dict)
    """Dead holds whose letters are with the broker: they lose their ``due_at``, where the stream is still dead of that very attempt."""


Turn = Callable[[], Awaitable[None]]
"""Returns when it is the caller's turn: others go first."""


class StalePositionError(Exception):
    """Somebody else advanced one of the commit's streams; nothing was written."""


class StoreUnavailableError(Exception):
    """The store cannot be reached or refuses everyone: an outage, never an event's fault. Or this generation is no more."""


class ProjectionError(Exception):
    """The projection raised on these events: the first of each stream it could not apply, with what it raised."""

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
        """The positions of those streams that are behind these heads (stream → version), but for what a failed event holds that
        has seen them: about such a stream there is nothing new."""

    async def commit(self, commit: Commit) -> None:
        """All of it or nothing; see the module's docstring for what it raises."""

    async def as_of(self) -> dict[int, datetime | None]:
        """Lane → everything committed in it before this time has been seen; a lane never heard of is left out."""

    async def overdue(self, now: datetime, limit: int) -> Sequence[tuple[str, int]]:
        """(stream, applied) of holds whose ``due_at`` has passed, oldest first; each gets a later ``due_at`` (30 s on).

        Those whose ``due_at`` is BEYOND_REASON, at most LATEST, come after them.
        """

    async def unreported(self, now: datetime, limit: int) -> Sequence[tuple[str, int]]:
        """The same for holds whose ``due_at`` is OWED: dead letters that nobody has been told of."""

    async def gaps(self) -> int:
        """How many streams are held as a gap."""

    async def release_others(self, kinds: Collection[str]) -> None:
        """Release the holds of all streams of other kinds."""

    async def complete(self, turn: Turn) -> None:
        """Do what has been put off in a generation that is being built; to be called when all of history is in, before it is ready.

        In most stores that is nothing. ``turn`` is waited for before each part. Called off in the middle, it is to be called again.
        """

    async def positions_page(self, cursor: str, limit: int) -> tuple[str, Sequence[tuple[str, int]]]:
        """About ``limit`` streams with what is applied of them, in an order of the store's own, some perhaps twice; and where the
        next portion begins. "" is the beginning, and, as what follows, the end.
        """

    async def discards(self, after: tuple[str, int], limit: int) -> Sequence[tuple[str, int]]:
        """(stream, version) of what has been discarded, past or future, in an order of the store's own from ``after`` on (("", 0): all)."""
