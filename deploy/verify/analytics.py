"""The analytics store under verification: positions and holds of some streams at one moment, and its figures a portion at a time.

Redis does one thing at a time, so everything here is asked for in small portions.
"""

import math
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from redis.asyncio import Redis

from deploy.verify.errors import naming_the_server
from deploy.verify.figures import Cell, Figures, Value, kept
from deploy.verify.findings import ModelProgress
from deploy.verify.models import Problems, Snapshot, folded, unfoldable
from projectors.models.analytics.projection import fold
from projectors.models.analytics.script import hold_from_json
from projectors.stores.port import Advance, Position
from shared.views.analytics import Keys, exact_figure, is_inexact
from shared.views.generations import ACTIVE_FIELD, FIRST, generation_name, registry_key

NAME: Final = "analytics"
PORTION: Final = 1000
TIMEOUT_S: Final = 30.0
_INTEGER: Final = re.compile(r"-?\d{1,40}")


@dataclass(slots=True)
class Moment:
    """What Redis said in one go."""

    positions: dict[str, int] = field(default_factory=dict)
    values: dict[Cell, Value | None] = field(default_factory=dict)
    """For a cell without a member, the type of what is under its key; None: nothing."""
    events: int = 0
    """Applied ever: where this has not changed, nothing has."""


class AnalyticsModel:
    name = NAME

    def __init__(self, redis: Any, generation: int) -> None:
        self.generation = generation
        self.layout = Keys(generation_name(NAME, generation))
        self.figures: Figures | None = None
        """Where the streams that are looked at are counted; None: only their positions are looked at."""
        self._redis = redis

    @asynccontextmanager
    async def looking(self, streams: Sequence[str]) -> AsyncIterator[Snapshot]:
        with naming_the_server(self.name):
            yield await self._sight(list(streams))

    async def progress(self) -> ModelProgress:
        with naming_the_server(self.name):
            fields: dict[str, str] = await self._redis.hgetall(self.layout.progress)
        as_of = [datetime.fromisoformat(text) for name, text in fields.items() if name.endswith(":as_of")]
        return ModelProgress(min(as_of, default=None), _events(fields))

    async def mentioned(self) -> AsyncIterator[list[str]]:
        for key in (self.layout.positions, self.layout.held, self.layout.discarded):
            async for pairs in self.scan(key, "hash"):
                yield [name for name, _ in pairs]

    async def keys(self) -> AsyncIterator[list[tuple[str, str]]]:
        """Every key of the generation, with its type. May repeat."""
        cursor = 0
        while True:
            with naming_the_server(self.name):
                cursor, names = await self._redis.scan(cursor, match=f"{self.layout.prefix}:*", count=PORTION)
                async with self._redis.pipeline(transaction=False) as pipeline:
                    for name in names:
                        pipeline.type(name)
                    types = await pipeline.execute()
            yield list(zip(names, types, strict=True))
            if not cursor:
                return

    async def scan(self, key: str, kind: str) -> AsyncIterator[list[tuple[str, Value]]]:
        """Members or fields with what they hold: text of a hash, the figure of a sorted set, 1 for a set. May repeat."""
        cursor = 0
        while True:
            with naming_the_server(self.name):
                match kind:
                    case "hash":
                        cursor, found = await self._redis.hscan(key, cursor, count=PORTION)
                        pairs = list(found.items())
                    case "zset":
                        cursor, found = await self._redis.zscan(key, cursor, count=PORTION)
                        pairs = await self._figures_of(key, found)
                    case _:
                        cursor, found = await self._redis.sscan(key, cursor, count=PORTION)
                        pairs = [(member, 1) for member in found]
            yield pairs
            if not cursor:
                return

    async def _figures_of(self, key: str, scores: Sequence[tuple[str, float]]) -> list[tuple[str, Value]]:
        fields = [self.layout.exact_field(key, member) for member, score in scores if is_inexact(score)]
        texts = iter(await self._redis.hmget(self.layout.exact, fields) if fields else ())
        return [(member, _figure(score, next(texts) if is_inexact(score) else None)) for member, score in scores]

    async def due_in_vain(self) -> AsyncIterator[list[tuple[str, float]]]:
        """Streams that are due to be asked for, and not held: they would be asked for for ever. With the time. May repeat."""
        async for pairs in self.scan(self.layout.due, "zset"):
            streams = [stream for stream, _ in pairs]
            if not streams:
                continue
            with naming_the_server(self.name):
                async with self._redis.pipeline(transaction=True) as pipeline:
                    pipeline.zmscore(self.layout.due, streams)
                    pipeline.hmget(self.layout.held, streams)
                    due, held = await pipeline.execute()
            yield [
                (stream, at) for stream, at, hold in zip(streams, due, held, strict=True) if at is not None and not hold
            ]

    async def positions(self, streams: Sequence[str]) -> dict[str, int]:
        found: dict[str, int] = {}
        for start in range(0, len(streams), PORTION):
            some = list(streams[start : start + PORTION])
            with naming_the_server(self.name):
                applied = await self._redis.hmget(self.layout.positions, some)
            found |= {stream: int(version or 0) for stream, version in zip(some, applied, strict=True)}
        return found

    async def at_once(self, streams: Sequence[str], cells: Sequence[Cell]) -> Moment:
        """Positions and values of one and the same moment."""
        members: dict[str, list[str]] = {}
        whole = [key for key, member in cells if not member]
        for key, member in cells:
            if member:
                members.setdefault(key, []).append(member)
        portions = [list(streams[start : start + PORTION]) for start in range(0, len(streams), PORTION)]
        with naming_the_server(self.name):
            async with self._redis.pipeline(transaction=True) as pipeline:
                for some in portions:
                    pipeline.hmget(self.layout.positions, some)
                for key, wanted in members.items():
                    _ask(pipeline, self.type_of(key), key, wanted)
                    pipeline.hmget(self.layout.exact, [self.layout.exact_field(key, member) for member in wanted])
                for key in whole:
                    pipeline.type(key)
                pipeline.hgetall(self.layout.progress)
                answers = iter(await pipeline.execute(raise_on_error=False))
        moment = Moment()
        for some in portions:
            moment.positions |= {stream: int(at or 0) for stream, at in zip(some, next(answers), strict=True)}
        for key, wanted in members.items():
            found, texts = next(answers), next(answers)
            if isinstance(found, Exception):  # a key of another type
                found = [str(found)] * len(wanted)
            if isinstance(texts, Exception):
                texts = [None] * len(wanted)
            for member, one, text in zip(wanted, found, texts, strict=True):
                moment.values[key, member] = self.value(key, _figure(one, text) if isinstance(one, float) else one)
        for key in whole:
            kind = next(answers)
            moment.values[key, ""] = None if kind == "none" else kind
        moment.events = _events(next(answers))
        return moment

    def type_of(self, key: str) -> str:
        """What Redis should have under a key of ours."""
        layout = self.layout
        if key in (layout.days, layout.due) or key.startswith((layout.units(""), f"{layout.prefix}:sales:")):
            return "zset"
        return "set" if key in (layout.currencies, layout.totalled) else "hash"

    def is_figure(self, key: str) -> bool:
        """Whether the key holds something that follows from events alone, streams' states aside. ``exact`` is a part of others."""
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
        )

    def value(self, key: str, raw: Any) -> Value | None:
        if key == self.layout.currencies:
            return raw or None
        text = (
            isinstance(raw, str) and key not in (self.layout.names, self.layout.line_names) and _INTEGER.fullmatch(raw)
        )
        if text or isinstance(raw, int):
            return kept(int(raw))
        found: Value | None = raw
        return found

    async def close(self) -> None:
        await self._redis.aclose()

    async def _sight(self, streams: list[str]) -> "_Sight":
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
        over = {stream: frozenset(map(int, text.split())) for stream, text in versions if text}
        return _Sight(positions, over, self.figures)


class _Sight:
    def __init__(
        self, positions: Mapping[str, Position], discarded: Mapping[str, frozenset[int]], figures: Figures | None
    ) -> None:
        self.positions = positions
        self.discarded = discarded
        self._figures = figures

    async def problems(
        self, advances: Sequence[Advance], broken: Mapping[str, str], versions: Mapping[str, int]
    ) -> Problems:
        """Figures are sums over streams: here they are only counted."""
        effects, failed = folded(fold, advances)
        if self._figures is not None:
            self._figures.record(effects)
            counted = {stream: (self.positions[stream].applied, version) for stream, version in versions.items()}
            self._figures.saw(counted)
        return unfoldable({**broken, **failed})


async def open_analytics(url: str, generation: int | None) -> AnalyticsModel:
    """``generation``: None is the active one. Raises AwayError."""
    redis: Any = Redis.from_url(url, decode_responses=True, socket_timeout=TIMEOUT_S, socket_connect_timeout=5)
    with naming_the_server(NAME):
        number = generation or int(await redis.hget(registry_key(NAME), ACTIVE_FIELD) or FIRST)
    return AnalyticsModel(redis, number)


def _figure(score: float, text: str | None) -> int | float:
    """A score below 2^53 as it is: a fraction is a difference."""
    return exact_figure(score, text) if is_inexact(score) and math.isfinite(score) else score


def _ask(pipeline: Any, kind: str, key: str, members: list[str]) -> None:
    match kind:
        case "hash":
            pipeline.hmget(key, members)
        case "zset":
            pipeline.zmscore(key, members)
        case _:
            pipeline.smismember(key, members)


def _events(progress: Mapping[str, str]) -> int:
    return sum(int(count) for name, count in progress.items() if name.endswith(":events_applied"))
