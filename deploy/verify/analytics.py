"""The analytics store under verification: positions and holds of some streams at one moment, and its figures batch by batch.

Redis executes one command at a time, so everything here is read in small batches.
"""

import math
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from redis.asyncio import Redis

from deploy.verify.errors import server_errors
from deploy.verify.figures import Cell, Figures, Value, storable
from deploy.verify.findings import ModelProgress
from deploy.verify.models import Problems, Snapshot, fold_applicable, fold_problems
from projectors.models.analytics.projection import fold
from projectors.models.analytics.script import hold_from_json
from projectors.stores.port import Advance, Position
from shared.views.analytics import SALES, Keys, exact_figure, is_inexact, sales_are_complete
from shared.views.generations import ACTIVE_FIELD, FIRST, generation_name, registry_key

NAME: Final = "analytics"
BATCH_SIZE: Final = 1000
TIMEOUT_S: Final = 30.0
_INTEGER: Final = re.compile(r"-?\d{1,40}")


@dataclass(slots=True)
class AtomicRead:
    """Positions and values that were read in one transaction."""

    positions: dict[str, int] = field(default_factory=dict)
    values: dict[Cell, Value | None] = field(default_factory=dict)
    """For a cell without a member, the type of its key; None if the key does not exist."""
    events: int = 0
    """Number of events ever applied: as long as it is unchanged, nothing has changed."""


class AnalyticsModel:
    name = NAME

    def __init__(self, redis: Any, generation: int) -> None:
        self.generation = generation
        self.layout = Keys(generation_name(NAME, generation))
        self.figures: Figures | None = None
        """Where the events of the verified streams are added up; None: only positions are compared."""
        self._redis = redis

    @asynccontextmanager
    async def snapshot(self, streams: Sequence[str]) -> AsyncIterator[Snapshot]:
        with server_errors(self.name):
            yield await self._read_snapshot(list(streams))

    async def progress(self) -> ModelProgress:
        with server_errors(self.name):
            fields: dict[str, str] = await self._redis.hgetall(self.layout.progress)
        as_of = [datetime.fromisoformat(text) for name, text in fields.items() if name.endswith(":as_of")]
        return ModelProgress(min(as_of, default=None), _events(fields))

    async def sales_complete(self) -> bool:
        """Whether the figures by region and category include all events: see ``sales_are_complete``."""
        with server_errors(self.name):
            async with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.hget(self.layout.counted, SALES)
                pipeline.hgetall(self.layout.progress)
                return sales_are_complete(*await pipeline.execute())

    async def mentioned_streams(self) -> AsyncIterator[list[str]]:
        for key in (self.layout.positions, self.layout.held, self.layout.discarded):
            async for pairs in self.scan(key, "hash"):
                yield [name for name, _ in pairs]

    async def keys(self) -> AsyncIterator[list[tuple[str, str]]]:
        """Every key of the generation, with its type. May repeat."""
        cursor = 0
        while True:
            with server_errors(self.name):
                cursor, names = await self._redis.scan(cursor, match=f"{self.layout.prefix}:*", count=BATCH_SIZE)
                async with self._redis.pipeline(transaction=False) as pipeline:
                    for name in names:
                        pipeline.type(name)
                    types = await pipeline.execute()
            yield list(zip(names, types, strict=True))
            if not cursor:
                return

    async def scan(self, key: str, kind: str) -> AsyncIterator[list[tuple[str, Value]]]:
        """Members or fields with their values: the text in a hash, the figure in a sorted set, 1 in a set. May repeat."""
        cursor = 0
        while True:
            with server_errors(self.name):
                match kind:
                    case "hash":
                        cursor, found = await self._redis.hscan(key, cursor, count=BATCH_SIZE)
                        pairs = list(found.items())
                    case "zset":
                        cursor, found = await self._redis.zscan(key, cursor, count=BATCH_SIZE)
                        pairs = await self._figures_of(key, found)
                    case _:
                        cursor, found = await self._redis.sscan(key, cursor, count=BATCH_SIZE)
                        pairs = [(member, 1) for member in found]
            yield pairs
            if not cursor:
                return

    async def _figures_of(self, key: str, scores: Sequence[tuple[str, float]]) -> list[tuple[str, Value]]:
        fields = [self.layout.exact_field(key, member) for member, score in scores if is_inexact(score)]
        texts = iter(await self._redis.hmget(self.layout.exact, fields) if fields else ())
        return [(member, _figure(score, next(texts) if is_inexact(score) else None)) for member, score in scores]

    async def due_without_hold(self) -> AsyncIterator[list[tuple[str, float]]]:
        """Streams that are due for a resend request, and not held: they would be requested for ever. With the time. May repeat."""
        async for pairs in self.scan(self.layout.due, "zset"):
            streams = [stream for stream, _ in pairs]
            if not streams:
                continue
            with server_errors(self.name):
                async with self._redis.pipeline(transaction=True) as pipeline:
                    pipeline.zmscore(self.layout.due, streams)
                    pipeline.hmget(self.layout.held, streams)
                    due, held = await pipeline.execute()
            yield [
                (stream, at) for stream, at, hold in zip(streams, due, held, strict=True) if at is not None and not hold
            ]

    async def positions(self, streams: Sequence[str]) -> dict[str, int]:
        found: dict[str, int] = {}
        for start in range(0, len(streams), BATCH_SIZE):
            some = list(streams[start : start + BATCH_SIZE])
            with server_errors(self.name):
                applied = await self._redis.hmget(self.layout.positions, some)
            found |= {stream: int(version or 0) for stream, version in zip(some, applied, strict=True)}
        return found

    async def read_atomically(self, streams: Sequence[str], cells: Sequence[Cell]) -> AtomicRead:
        """Positions and values, read in one transaction."""
        members: dict[str, list[str]] = {}
        whole = [key for key, member in cells if not member]
        for key, member in cells:
            if member:
                members.setdefault(key, []).append(member)
        batches = [list(streams[start : start + BATCH_SIZE]) for start in range(0, len(streams), BATCH_SIZE)]
        with server_errors(self.name):
            async with self._redis.pipeline(transaction=True) as pipeline:
                for some in batches:
                    pipeline.hmget(self.layout.positions, some)
                for key, names in members.items():
                    _request_members(pipeline, self.type_of(key), key, names)
                    pipeline.hmget(self.layout.exact, [self.layout.exact_field(key, member) for member in names])
                for key in whole:
                    pipeline.type(key)
                pipeline.hgetall(self.layout.progress)
                replies = iter(await pipeline.execute(raise_on_error=False))
        read = AtomicRead()
        for some in batches:
            read.positions |= {stream: int(at or 0) for stream, at in zip(some, next(replies), strict=True)}
        for key, names in members.items():
            found, texts = next(replies), next(replies)
            if isinstance(found, Exception):  # a key of another type
                found = [str(found)] * len(names)
            if isinstance(texts, Exception):
                texts = [None] * len(names)
            for member, one, text in zip(names, found, texts, strict=True):
                read.values[key, member] = self.value(key, _figure(one, text) if isinstance(one, float) else one)
        for key in whole:
            kind = next(replies)
            read.values[key, ""] = None if kind == "none" else kind
        read.events = _events(next(replies))
        return read

    def type_of(self, key: str) -> str:
        """The expected type of a key."""
        layout = self.layout
        if key in (layout.days, layout.due) or key.startswith((layout.units(""), f"{layout.prefix}:sales:")):
            return "zset"
        return "set" if key in (layout.currencies, layout.totalled) else "hash"

    def is_figure(self, key: str) -> bool:
        """Whether the key's content follows from events alone (stream states do not). ``exact`` is compared as part of other keys."""
        layout = self.layout
        return key not in (
            layout.positions,
            layout.held,
            layout.due,
            layout.progress,
            layout.discarded,
            layout.totalled,
            layout.exact,
            layout.first,
            layout.counted,
        )

    def value(self, key: str, raw: Any) -> Value | None:
        if key == self.layout.currencies:
            return raw or None
        text = (
            isinstance(raw, str) and key not in (self.layout.names, self.layout.line_names) and _INTEGER.fullmatch(raw)
        )
        if text or isinstance(raw, int):
            return storable(int(raw))
        found: Value | None = raw
        return found

    async def close(self) -> None:
        await self._redis.aclose()

    async def _read_snapshot(self, streams: list[str]) -> "_Snapshot":
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hmget(self.layout.positions, streams)
            pipeline.hmget(self.layout.held, streams)
            pipeline.hmget(self.layout.discarded, streams)
            applied, held, discarded = await pipeline.execute()
        positions = {}
        for stream, version, hold in zip(streams, applied, held, strict=True):
            found = hold_from_json(hold, None) if hold else None
            at = int(version or 0)
            positions[stream] = Position(at, found if found is not None and found.version > at else None)
        versions = zip(streams, discarded, strict=True)
        discarded_versions = {stream: frozenset(map(int, text.split())) for stream, text in versions if text}
        return _Snapshot(positions, discarded_versions, self.figures)


class _Snapshot:
    def __init__(
        self, positions: Mapping[str, Position], discarded: Mapping[str, frozenset[int]], figures: Figures | None
    ) -> None:
        self.positions = positions
        self.discarded = discarded
        self._figures = figures

    async def problems(
        self, advances: Sequence[Advance], unreadable: Mapping[str, str], versions: Mapping[str, int]
    ) -> Problems:
        """Figures are sums over streams: here they are only added up."""
        effects, failed = fold_applicable(fold, advances)
        if self._figures is not None:
            self._figures.record(effects)
            counted = {stream: (self.positions[stream].applied, version) for stream, version in versions.items()}
            self._figures.set_positions(counted)
        return fold_problems({**unreadable, **failed})


async def open_analytics(url: str, generation: int | None) -> AnalyticsModel:
    """``generation``: None is the active one. Raises ServerUnavailableError."""
    redis: Any = Redis.from_url(url, decode_responses=True, socket_timeout=TIMEOUT_S, socket_connect_timeout=5)
    with server_errors(NAME):
        number = generation or int(await redis.hget(registry_key(NAME), ACTIVE_FIELD) or FIRST)
    return AnalyticsModel(redis, number)


def _figure(score: float, text: str | None) -> int | float:
    """A score below 2^53 unchanged: a fraction is a difference."""
    return exact_figure(score, text) if is_inexact(score) and math.isfinite(score) else score


def _request_members(pipeline: Any, kind: str, key: str, members: list[str]) -> None:
    match kind:
        case "hash":
            pipeline.hmget(key, members)
        case "zset":
            pipeline.zmscore(key, members)
        case _:
            pipeline.smismember(key, members)


def _events(progress: Mapping[str, str]) -> int:
    return sum(int(count) for name, count in progress.items() if name.endswith(":events_applied"))
