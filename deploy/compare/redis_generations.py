"""Reads two generations of a Redis read store key by key: each script reads a few hundred members of both at one instant."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis

COUNT: Final = 500
BATCH_SIZE: Final = 500
MAX_TRIES: Final = 20
PAUSE_S: Final = 0.002
POSITIONS: Final = "positions"
COUNTERS: Final = frozenset({"hour", "day"})
"""Kinds of keys in which a missing counter is 0."""

Values = tuple[str | None, str | None]

_HERE: Final = Path(__file__).parent


@dataclass(frozen=True)
class Member:
    """``key``: the key's name without the generation's prefix."""

    key: str
    name: str

    @property
    def kind(self) -> str:
        return kind_of(self.key)


@dataclass(frozen=True)
class ScanStep:
    """``members``: of the key; ``differ``: how many of the ``seen`` members of this step differ; ``first``: the first of these."""

    types: tuple[str, str]
    members: int
    seen: int
    differ: int
    first: list[str]
    same_streams: bool
    """Whether both generations had the same streams at that instant."""


@dataclass(frozen=True)
class MemberValues:
    streams: tuple[int, int]
    values: list[Values]


class RedisGenerationPair:
    """``prefixes``: the key prefixes of both generations."""

    def __init__(self, redis: Redis, prefixes: tuple[str, str]) -> None:
        self._redis = redis
        self._prefixes = prefixes
        self._compare_key_script = redis.register_script((_HERE / "compare_key.lua").read_text())
        self._read_members_script = redis.register_script((_HERE / "read_members.lua").read_text())

    async def keys(self, side: int) -> set[str]:
        """All keys of a generation, without its prefix: a few for each day with orders."""
        prefix = f"{self._prefixes[side]}:"
        return {key.removeprefix(prefix) async for key in self._redis.scan_iter(f"{prefix}*", count=1000)}

    async def scan(self, key: str, side: int, *, most: int, surplus: int | None) -> AsyncIterator[ScanStep]:
        """Compare every member that the key has on side 0 with side 1; of side 1, those that side 0 lacks.

        ``surplus``: how many more streams side 0 has when both are up to date. A step is repeated, up to MAX_TRIES times, until it ran at
        such an instant. None: at any instant.
        """
        keys = [f"{self._prefixes[one]}:{name}" for name in (key, POSITIONS) for one in (side, 1 - side)]
        expected_surplus = None if surplus is None else (-surplus if side else surplus)
        cursor, tries = "0", 0
        while True:
            arguments: list[str | int] = [cursor, COUNT, _counts_as(key), "absent" if side else "all", most]
            found: list[Any] = await self._compare_key_script(keys=keys, args=arguments)
            after, kind, other, members, seen, differ, first, known, other_known = found
            same_streams = expected_surplus is None or known - other_known == expected_surplus
            tries += 1
            if same_streams or tries == MAX_TRIES:
                yield ScanStep((kind, other), members, seen, differ, first, same_streams)
                cursor, tries = after, 0
                if cursor == "0":
                    return
            else:
                await asyncio.sleep(PAUSE_S)

    async def read_members(self, members: Sequence[Member]) -> MemberValues:
        """The values of at most BATCH_SIZE members."""
        keys = [f"{prefix}:{POSITIONS}" for prefix in self._prefixes]
        keys += [f"{prefix}:{member.key}" for member in members for prefix in self._prefixes]
        arguments = [text for member in members for text in (member.name, _counts_as(member.key))]
        found: list[Any] = await self._read_members_script(keys=keys, args=arguments)
        values = list(zip(found[2::2], found[3::2], strict=True))
        return MemberValues((found[0], found[1]), values)

    async def sizes(self, key: str) -> tuple[int, int]:
        """The number of fields of a hash in both."""
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
