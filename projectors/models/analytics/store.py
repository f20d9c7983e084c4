"""The analytics figures in Redis: each commit is one script that checks every position and then changes everything, or nothing.

Redis must persist (``appendonly yes``) and must not evict (``maxmemory-policy noeviction``). The positions are stored in it
too, so data and positions are lost together, and the lost events are applied again.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from projectors.models.analytics.connection import CONNECT_TIMEOUT_S, client, raising_unavailable
from projectors.models.analytics.generation_registry import AnalyticsRegistry
from projectors.models.analytics.projection import fold
from projectors.models.analytics.script import CommitCall, hold_from_json, totals
from projectors.runtime.gating import behind
from projectors.stores.port import (
    IMPLAUSIBLE_DELAY,
    LATEST_DUE,
    UNREPORTED,
    Commit,
    HoldStatus,
    Position,
    StalePositionError,
    StoreUnavailableError,
    Turn,
)
from projectors.stores.projection import Projection
from shared.read_models import is_of
from shared.runtime.failpoints import Failpoint, reached
from shared.runtime.settings import Settings
from shared.views.analytics import PREFIX, Keys
from shared.views.generations import FIRST, generation_name, registry_key

RESEND_INTERVAL: Final = timedelta(seconds=30)
PAGE: Final = 1000

_HERE: Final = Path(__file__).parent
_STALE, _DROPPED = 0, -2
_STATUSES: Final = {status: f'"status":"{status}"' for status in HoldStatus}


class AnalyticsStore:
    """``projectors.stores.port.Store`` on Redis 7 or Valkey. ``prefix`` is the generation's.

    ``entry``: the registry's key, and the field without which nothing is written: the prefix of a dropped generation stays empty.
    """

    def __init__(self, url: str, prefix: str = PREFIX, *, entry: tuple[str, str] | None = None) -> None:
        self._keys = Keys(prefix)
        self._entry = entry
        self._days_only = False
        """Whether no total was maintained when positions were last read. Then commits omit totals, and the script rejects a commit if
        one is maintained by now."""
        self._redis = client(url)
        self._commit = self._redis.register_script(script("exact", "commit"))
        self._total = self._redis.register_script(script("exact", "total"))
        self._overdue = self._redis.register_script(script("overdue"))

    async def open(self) -> None:
        with raising_unavailable():
            await self._redis.ping()

    async def close(self) -> None:
        await asyncio.wait_for(self._redis.aclose(), CONNECT_TIMEOUT_S)

    async def positions(self, streams: Sequence[str]) -> dict[str, Position]:
        if not streams:
            return {}
        layout, wanted = self._keys, list(streams)
        with raising_unavailable():
            async with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.hmget(layout.positions, wanted)
                pipeline.exists(layout.held, layout.discarded)
                pipeline.scard(layout.totalled)
                applied, others, totalled = await pipeline.execute()
            self._days_only = totalled == 1
            if not others:  # as while history is applied: a quarter of the work
                return {stream: Position(int(version or 0)) for stream, version in zip(wanted, applied, strict=True)}
            async with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.hmget(layout.positions, wanted)
                pipeline.hmget(layout.held, wanted)
                pipeline.zmscore(layout.due, wanted)
                pipeline.hmget(layout.discarded, wanted)
                found = zip(wanted, *await pipeline.execute(), strict=True)
        return {stream: _position(int(version or 0), *rest) for stream, version, *rest in found}

    async def behind(self, heads: Mapping[str, int]) -> dict[str, Position]:
        return behind(heads, await self.positions(list(heads)))

    async def commit(self, commit: Commit) -> None:
        call = CommitCall(self._keys, commit, fold(commit.advances), self._entry, days_only=self._days_only)
        if commit.advances:
            reached(Failpoint.BEFORE_COMMIT)
        with raising_unavailable():
            result = await self._commit(keys=call.keys, args=[call.argument])
        if result == _STALE:
            raise StalePositionError
        self._check(result)

    async def as_of(self) -> dict[int, datetime | None]:
        with raising_unavailable():
            progress: dict[str, str] = await self._redis.hgetall(self._keys.progress)  # type: ignore[assignment]
        lanes = {int(name.partition(":")[0]) for name in progress}
        found = {lane: progress.get(f"{lane}:as_of") for lane in lanes}
        return {lane: datetime.fromisoformat(text) if text else None for lane, text in found.items()}

    async def overdue(self, now: datetime, limit: int) -> Sequence[tuple[str, int]]:
        found = await self._due("-inf", now, limit, now)
        return [
            *found,
            *await self._due(repr((now + IMPLAUSIBLE_DELAY).timestamp()), LATEST_DUE, limit - len(found), now),
        ]

    async def unreported(self, now: datetime, limit: int) -> Sequence[tuple[str, int]]:
        return await self._due(repr(UNREPORTED.timestamp()), UNREPORTED, limit, now)

    def _check(self, result: int) -> None:
        if result == _DROPPED:
            raise StoreUnavailableError(f"the generation {self._keys.prefix} has been dropped")

    async def _due(self, since: str, until: datetime, limit: int, now: datetime) -> Sequence[tuple[str, int]]:
        later = (now + RESEND_INTERVAL).timestamp()
        with raising_unavailable():
            found = await self._overdue(
                keys=[self._keys.due, self._keys.positions], args=[since, repr(until.timestamp()), limit, repr(later)]
            )
        return [(stream, int(applied)) for stream, applied in zip(found[::2], found[1::2], strict=True)]

    async def held_by_status(self) -> Mapping[HoldStatus, int]:
        found = dict.fromkeys(HoldStatus, 0)
        with raising_unavailable():
            async for _, hold in self._redis.hscan_iter(self._keys.held, count=PAGE):
                found[next(status for status, mark in _STATUSES.items() if mark in hold)] += 1
        return found

    async def release_others(self, kinds: Collection[str]) -> None:
        with raising_unavailable():
            held = [stream async for stream, _ in self._redis.hscan_iter(self._keys.held, count=PAGE)]
        others = [stream for stream in held if not is_of(kinds, stream)]
        for start in range(0, len(others), PAGE):
            await self.commit(Commit(released=others[start : start + PAGE]))

    async def complete(self, turn: Turn) -> None:
        """Compute the deferred totals, one at a time: Redis serves other clients in between."""
        layout = self._keys
        registry, entry = self._entry or ("", "")
        with raising_unavailable():
            while await self._redis.exists(layout.totalled):
                days: Any = await self._redis.zrange(layout.days, 0, -1)
                currencies: Any = await self._redis.smembers(layout.currencies)
                for total in [*totals(layout, days, currencies), []]:
                    keys = [layout.totalled, layout.days, layout.currencies, registry, layout.exact, *total]
                    await turn()
                    done = await self._total(keys=keys, args=[len(days), len(currencies), entry, layout.prefix])
                    self._check(done)
                    if not done:
                        break
                    reached(Failpoint.BETWEEN_TOTALS)

    async def positions_page(self, cursor: str, limit: int) -> tuple[str, Sequence[tuple[str, int]]]:
        with raising_unavailable():
            found: dict[str, str]
            following, found = await self._redis.hscan(self._keys.positions, int(cursor or 0), count=limit)  # type: ignore[assignment]
        return (str(following) if following else "", [(stream, int(applied)) for stream, applied in found.items()])

    async def discards(self, after: tuple[str, int], limit: int) -> Sequence[tuple[str, int]]:
        with raising_unavailable():
            found: dict[str, str] = await self._redis.hgetall(self._keys.discarded)  # type: ignore[assignment]
        pairs = sorted((stream, int(version)) for stream, versions in found.items() for version in versions.split())
        return [pair for pair in pairs if pair > after][:limit]


def script(*parts: str) -> str:
    """The Lua files of these names, as one."""
    return "".join((_HERE / f"{part}.lua").read_text() for part in parts)


def _position(applied: int, hold: str | None, due_at: float | None, discarded: str | None) -> Position:
    beyond = (
        frozenset(version for version in map(int, discarded.split()) if version > applied) if discarded else frozenset()
    )
    if hold is None:
        return Position(applied, discarded=beyond)
    found = hold_from_json(hold, due_at)
    return Position(applied, found if found.version > applied else None, beyond)


def _store(settings: Settings, number: int) -> AnalyticsStore:
    entry = None if number == FIRST else (registry_key(PREFIX), str(number))
    return AnalyticsStore(settings.store_url("analytics"), generation_name(PREFIX, number), entry=entry)


PROJECTION: Final = Projection(
    _store,
    lambda settings: AnalyticsRegistry(settings.store_url("analytics")),
    # Redis executes one command at a time: more batches at once gain nothing, and a batch's positions wait behind other commits.
    history_batches=8,
    # Live events wait for all running batches, so each is kept short.
    batch_target_s=0.15,
)
