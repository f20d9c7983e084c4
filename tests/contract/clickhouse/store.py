"""Analytics in ClickHouse: a journal of facts, from which every figure is a query.

    commit ──lock──▶ positions as expected? ──▶ one INSERT: facts, positions, holds, progress ──▶ on disk
                                └──no──▶ StalePositionError          killed before: nothing of it; after: all of it

Facts are functions of their events, so a commit that is written twice (its outcome was unknown, or on a server a second writer had read
the same positions) changes no figure. What the contract asks beyond that, that exactly one of two writers wins, the lock gives within a
process; writers on several machines need ClickHouse Keeper for it, or a single writer for each lane, as the broker's queues have it.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import TypeAdapter

from projectors.runtime.gating import behind
from projectors.stores.port import (
    IMPLAUSIBLE_DELAY,
    LATEST_DUE,
    UNREPORTED,
    Commit,
    Hold,
    HoldStatus,
    Position,
    StalePositionError,
    Turn,
)
from projectors.stores.storable import storable
from shared.read_models import is_of
from tests.contract.clickhouse.database import Database
from tests.contract.clickhouse.projection import Row, fold, time_text

RESEND_INTERVAL: Final = timedelta(seconds=30)
BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2261, 1, 1, tzinfo=UTC)
"""ClickHouse's DateTime64(6) ends before UNREPORTED; the hold's JSON has the time itself."""

LAST: Final = "SELECT toString(max(at)) AS at FROM journal"
APPLIED: Final = """
SELECT stream, toString(max(version)) AS applied FROM journal FINAL
WHERE kind = 'moved' AND stream IN {streams:Array(String)} GROUP BY stream
"""
HELD: Final = """
SELECT stream, argMax(hold, at) AS hold FROM journal FINAL
WHERE kind = 'hold' AND ({every:Bool} OR stream IN {streams:Array(String)}) GROUP BY stream HAVING hold <> ''
"""
DISCARDED: Final = """
SELECT stream, toString(version) AS version FROM journal FINAL
WHERE kind = 'discarded' AND stream IN {streams:Array(String)}
"""
AS_OF: Final = "SELECT place AS lane, max(as_of) AS as_of FROM journal FINAL WHERE kind = 'progress' GROUP BY place"
PAGE: Final = """
SELECT stream, toString(max(version)) AS applied FROM journal FINAL
WHERE kind = 'moved' AND stream > {cursor:String} GROUP BY stream ORDER BY stream LIMIT {limit:UInt64}
"""
DISCARDS: Final = """
SELECT stream, toString(version) AS version FROM journal FINAL
WHERE kind = 'discarded' AND (stream, version) > ({stream:String}, {version:UInt64})
ORDER BY stream, version LIMIT {limit:UInt64}
"""
_HOLD: Final = TypeAdapter(Hold)


class ClickHouseStore:
    """``projectors.stores.port.Store``."""

    def __init__(self, url: str) -> None:
        self._database = Database(url)
        self._last = 0

    async def open(self) -> None:
        await self._database.read("SELECT 1 FROM journal LIMIT 1")

    async def close(self) -> None:
        """Nothing: the process has one connection, and no state in it."""

    async def positions(self, streams: Sequence[str]) -> dict[str, Position]:
        if not streams:
            return {}
        wanted = list(streams)
        applied = {row["stream"]: int(row["applied"]) for row in await self._database.read(APPLIED, streams=wanted)}
        held = await self._held(wanted)
        discarded: dict[str, set[int]] = {}
        for row in await self._database.read(DISCARDED, streams=wanted):
            discarded.setdefault(row["stream"], set()).add(int(row["version"]))
        return {
            stream: _position(applied.get(stream, 0), held.get(stream), discarded.get(stream, ())) for stream in wanted
        }

    async def behind(self, heads: Mapping[str, int]) -> dict[str, Position]:
        return behind(heads, await self.positions(list(heads)))

    async def commit(self, commit: Commit) -> None:
        rows = fold(commit.advances)
        async with self._database.lock:
            at = await self._next()
            expected = {stream: hold.version - 1 for stream, hold in commit.holds.items()}
            expected |= {advance.stream: advance.expected for advance in commit.advances}
            now = await self.positions([*expected, *(set(commit.confirmed) - expected.keys())])
            if any(now[stream].applied != version for stream, version in expected.items()):
                raise StalePositionError
            for advance in commit.advances:
                rows.append({"kind": "moved", "stream": advance.stream, "version": advance.version})
            freed = {*commit.released, *(advance.stream for advance in commit.advances)} - commit.holds.keys()
            rows += [_hold_row(stream, None) for stream in freed]
            rows += [_hold_row(stream, hold) for stream, hold in commit.holds.items()]
            for stream, hold in commit.confirmed.items():
                kept = now[stream].hold
                if kept and (kept.status, kept.version, kept.attempts) == (
                    HoldStatus.DEAD,
                    hold.version,
                    hold.attempts,
                ):
                    rows.append(_hold_row(stream, replace(kept, due_at=None)))
            rows += [{"kind": "discarded", "stream": stream, "version": v} for stream, v in commit.discarded]
            for lane, step in commit.progress.items():
                time_ = time_text(step.as_of) if step.as_of else None
                rows.append({"kind": "progress", "version": at, "place": lane, "items": step.events, "as_of": time_})
            await self._write(rows, at)

    async def as_of(self) -> dict[int, datetime | None]:
        rows = await self._database.read(AS_OF)
        return {row["lane"]: _time(row["as_of"]) if row["as_of"] else None for row in rows}

    async def overdue(self, now: datetime, limit: int) -> Sequence[tuple[str, int]]:
        found = await self._due(BEGINNING, now, limit, now)
        return [*found, *await self._due(now + IMPLAUSIBLE_DELAY, LATEST_DUE, limit - len(found), now)]

    async def unreported(self, now: datetime, limit: int) -> Sequence[tuple[str, int]]:
        return await self._due(UNREPORTED, UNREPORTED, limit, now)

    async def held_by_status(self) -> Mapping[HoldStatus, int]:
        found = dict.fromkeys(HoldStatus, 0)
        for hold in (await self._held()).values():
            found[hold.status] += 1
        return found

    async def release_others(self, kinds: Collection[str]) -> None:
        async with self._database.lock:
            others = [stream for stream in await self._held() if not is_of(kinds, stream)]
            await self._write([_hold_row(stream, None) for stream in others], await self._next())

    async def complete(self, turn: Turn) -> None:
        """Nothing is deferred: there are no totals."""

    async def positions_page(self, cursor: str, limit: int) -> tuple[str, Sequence[tuple[str, int]]]:
        rows = await self._database.read(PAGE, cursor=cursor, limit=limit)
        found = [(row["stream"], int(row["applied"])) for row in rows]
        return (found[-1][0] if len(found) == limit else "", found)

    async def discards(self, after: tuple[str, int], limit: int) -> Sequence[tuple[str, int]]:
        rows = await self._database.read(DISCARDS, stream=after[0], version=after[1], limit=limit)
        return [(row["stream"], int(row["version"])) for row in rows]

    async def _held(self, streams: Sequence[str] | None = None) -> dict[str, Hold]:
        rows = await self._database.read(HELD, every=streams is None, streams=list(streams or ()))
        return {row["stream"]: _HOLD.validate_json(row["hold"]) for row in rows}

    async def _due(self, since: datetime, until: datetime, limit: int, now: datetime) -> Sequence[tuple[str, int]]:
        if limit <= 0:
            return []
        async with self._database.lock:
            held = await self._held()
            due = sorted(
                (hold.due_at, stream, hold)
                for stream, hold in held.items()
                if hold.due_at and since <= hold.due_at <= until
            )[:limit]
            later = [_hold_row(stream, replace(hold, due_at=now + RESEND_INTERVAL)) for _, stream, hold in due]
            await self._write(later, await self._next())
            positions = await self.positions([stream for _, stream, _ in due])
        return [(stream, position.applied) for stream, position in positions.items()]

    async def _next(self) -> int:
        """A number greater than that of every commit in the table, whatever the clock says."""
        (row,) = await self._database.read(LAST)
        self._last = max(time.time_ns(), int(row["at"]) + 1)
        return self._last

    async def _write(self, rows: Sequence[Row], at: int) -> None:
        if rows:
            await self._database.insert([{**row, "at": at} for row in rows])


def _position(applied: int, hold: Hold | None, discarded: Collection[int]) -> Position:
    return Position(
        applied,
        hold if hold and hold.version > applied else None,
        frozenset(version for version in discarded if version > applied),
    )


def _hold_row(stream: str, hold: Hold | None) -> Row:
    text = _HOLD.dump_json(storable(hold)).decode() if hold else ""
    due = time_text(min(hold.due_at, LATEST)) if hold and hold.due_at else None
    return {"kind": "hold", "stream": stream, "version": hold.version if hold else 0, "hold": text, "due_at": due}


def _time(text: Any) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
