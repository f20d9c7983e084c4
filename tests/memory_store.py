"""A store in memory that does what ``projectors.stores.port`` says a store does, for histories of many thousand steps.

Between two awaits nothing else runs, so a commit is atomic without more ado.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from projectors.runtime.gating import behind
from projectors.stores.port import (
    IMPLAUSIBLE_DELAY,
    LATEST_DUE,
    UNREPORTED,
    Advance,
    Commit,
    Event,
    Hold,
    HoldStatus,
    Position,
    ProjectionError,
    StalePositionError,
    StoreUnavailableError,
    Turn,
)
from shared.read_models import is_of

EVER = datetime(1970, 1, 1, tzinfo=UTC)


class MemoryStore:
    """Keeps, as its data, the ids of the events applied to each stream, in order."""

    def __init__(self) -> None:
        self.applied: dict[str, int] = {}
        self.data: dict[str, list[str]] = {}
        self.holds: dict[str, Hold] = {}
        self.lanes: dict[int, tuple[datetime | None, int]] = {}
        self.discarded: set[tuple[str, int]] = set()
        self.down = False
        self.failing: set[str] = set()
        """Streams whose events the projection cannot apply."""

    async def open(self) -> None:
        self._reach()

    async def close(self) -> None:
        pass

    async def positions(self, streams: Sequence[str]) -> dict[str, Position]:
        self._reach()
        return {
            stream: Position(applied, self.holds.get(stream), self._discarded_beyond(stream, applied))
            for stream in streams
            for applied in [self.applied.get(stream, 0)]
        }

    async def commit(self, commit: Commit) -> None:
        self._reach()
        failures: list[tuple[Event, BaseException]] = [
            (advance.events[0], ValueError("poison"))
            for advance in commit.advances
            if advance.events and advance.stream in self.failing
        ]
        if failures:
            (event, cause), *others = failures
            raise ProjectionError(event, *others) from cause
        expected = {stream: hold.version - 1 for stream, hold in commit.holds.items()}
        expected |= {advance.stream: advance.expected for advance in commit.advances}
        if any(self.applied.get(stream, 0) != version for stream, version in expected.items()):
            raise StalePositionError
        self.write(commit.advances)
        for advance in commit.advances:
            self.applied[advance.stream] = advance.version
            self.holds.pop(advance.stream, None)
        for stream in commit.released:
            self.holds.pop(stream, None)
        self.holds |= commit.holds
        for stream, hold in commit.confirmed.items():
            kept = self.holds.get(stream)
            if kept and (kept.status, kept.version, kept.attempts) == (HoldStatus.DEAD, hold.version, hold.attempts):
                self.holds[stream] = replace(kept, due_at=None)
        self.discarded |= set(commit.discarded)
        for lane, step in commit.progress.items():
            before, count = self.lanes.get(lane, (None, 0))
            times = [time for time in (before, step.as_of) if time is not None]
            self.lanes[lane] = (max(times, default=None), count + step.events)

    def write(self, advances: Sequence[Advance]) -> None:
        """Write the data, or raise ProjectionError and write nothing."""
        for advance in advances:
            self.data.setdefault(advance.stream, []).extend(event.id for event in advance.events)

    async def behind(self, heads: Mapping[str, int]) -> dict[str, Position]:
        return behind(heads, await self.positions(list(heads)))

    async def as_of(self) -> dict[int, datetime | None]:
        self._reach()
        return {lane: time for lane, (time, _) in self.lanes.items()}

    async def overdue(self, now: datetime, limit: int) -> Sequence[tuple[str, int]]:
        found = self._due(EVER, now, limit, now)
        return [*found, *self._due(now + IMPLAUSIBLE_DELAY, LATEST_DUE, limit - len(found), now)]

    async def unreported(self, now: datetime, limit: int) -> Sequence[tuple[str, int]]:
        return self._due(UNREPORTED, UNREPORTED, limit, now)

    async def held_by_status(self) -> Mapping[HoldStatus, int]:
        self._reach()
        return {status: sum(hold.status is status for hold in self.holds.values()) for status in HoldStatus}

    async def release_others(self, kinds: Collection[str]) -> None:
        self._reach()
        self.holds = {stream: hold for stream, hold in self.holds.items() if is_of(kinds, stream)}

    async def complete(self, turn: Turn) -> None:
        self._reach()

    async def positions_page(self, cursor: str, limit: int) -> tuple[str, Sequence[tuple[str, int]]]:
        self._reach()
        found = sorted(pair for pair in self.applied.items() if pair[0] > cursor)[:limit]
        return (found[-1][0] if len(found) == limit else "", found)

    async def discards(self, after: tuple[str, int], limit: int) -> Sequence[tuple[str, int]]:
        self._reach()
        return [pair for pair in sorted(self.discarded) if pair > after][:limit]

    def _due(self, since: datetime, until: datetime, limit: int, now: datetime) -> Sequence[tuple[str, int]]:
        self._reach()
        due = [
            (hold.due_at, stream)
            for stream, hold in self.holds.items()
            if hold.due_at and since <= hold.due_at <= until
        ]
        found = [stream for _, stream in sorted(due)[:limit]]
        for stream in found:
            self.holds[stream] = replace(self.holds[stream], due_at=now + timedelta(seconds=30))
        return [(stream, self.applied.get(stream, 0)) for stream in found]

    def _discarded_beyond(self, stream: str, applied: int) -> frozenset[int]:
        return frozenset(version for name, version in self.discarded if name == stream and version > applied)

    def _reach(self) -> None:
        if self.down:
            raise StoreUnavailableError("down")
