"""Two generations of a Redis read store, key by key: the scripts that look at both at one instant, a few hundred members at a time."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis

COUNT: Final = 500
AT_ONCE: Final = 500
TRIES: Final = 20
PAUSE_S: Final = 0.002
POSITIONS: Final = "positions"
COUNTERS: Final = frozenset({"hour", "day"})
"""Kinds of keys in which a counter that is not there is one that stands at 0."""

Values = tuple[str | None, str | None]

_HERE: Final = Path(__file__).parent


@dataclass(frozen=True)
class Member:
    """``key`` is the part of the key's name behind the generation's prefix."""

    key: str
    name: str

    @property
    def kind(self) -> str:
        return kind_of(self.key)


@dataclass(frozen=True)
class Step:
    """``members``: how many the key has; ``differ``: how many of the ``seen`` in this step do, and which are the first of them."""

    types: tuple[str, str]
    members: int
    seen: int
    differ: int
    first: list[str]
    level: bool
    """Whether both generations knew the same streams at that instant."""


@dataclass(frozen=True)
class Look:
    streams: tuple[int, int]
    values: list[Values]


class Walking:
    """``prefixes``: those of both generations."""

    def __init__(self, redis: Redis, prefixes: tuple[str, str]) -> None:
        self._redis = redis
        self._prefixes = prefixes
        self._compare = redis.register_script((_HERE / "compare_key.lua").read_text())
        self._look = redis.register_script((_HERE / "look_at_members.lua").read_text())

    async def keys(self, side: int) -> set[str]:
        """All keys of a generation, without its prefix: as many as there are days with orders, times a few."""
        prefix = f"{self._prefixes[side]}:"
        return {key.removeprefix(prefix) async for key in self._redis.scan_iter(f"{prefix}*", count=1000)}

    async def walk(self, key: str, side: int, *, most: int, apart: int | None) -> AsyncIterator[Step]:
        """Every member that the key has on side 0, held against side 1; of side 1, those that side 0 lacks.

        ``apart``: how many streams more side 0 knows, when both know what they can; steps are taken at instants at which that is so,
        if there are any to be had. None: it makes no difference.
        """
        keys = [f"{self._prefixes[one]}:{name}" for name in (key, POSITIONS) for one in (side, 1 - side)]
        wanted = None if apart is None else (-apart if side else apart)
        cursor, tries = "0", 0
        while True:
            arguments: list[str | int] = [cursor, COUNT, _counts_as(key), "absent" if side else "all", most]
            found: list[Any] = await self._compare(keys=keys, args=arguments)
            after, kind, other, members, seen, differ, first, known, other_known = found
            level = wanted is None or known - other_known == wanted
            tries += 1
            if level or tries == TRIES:
                yield Step((kind, other), members, seen, differ, first, level)
                cursor, tries = after, 0
                if cursor == "0":
                    return
            else:
                await asyncio.sleep(PAUSE_S)

    async def look(self, members: Sequence[Member]) -> Look:
        """At most AT_ONCE members."""
        keys = [f"{prefix}:{POSITIONS}" for prefix in self._prefixes]
        keys += [f"{prefix}:{member.key}" for member in members for prefix in self._prefixes]
        arguments = [text for member in members for text in (member.name, _counts_as(member.key))]
        found: list[Any] = await self._look(keys=keys, args=arguments)
        values = list(zip(found[2::2], found[3::2], strict=True))
        return Look((found[0], found[1]), values)

    async def sizes(self, key: str) -> tuple[int, int]:
        """How many fields a hash has in both."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            for prefix in self._prefixes:
                pipeline.hlen(f"{prefix}:{key}")
            here, there = await pipeline.execute()
        return here, there

    async def fields(self, key: str, names: Sequence[str]) -> list[Values]:
        if not names:
            return []
        async with self._redis.pipeline(transaction=True) as pipeline:
            for prefix in self._prefixes:
                pipeline.hmget(f"{prefix}:{key}", list(names))
            here, there = await pipeline.execute()
        return list(zip(here, there, strict=True))


def kind_of(key: str) -> str:
    return key.partition(":")[0]


def _counts_as(key: str) -> str:
    return "0" if kind_of(key) in COUNTERS else ""
