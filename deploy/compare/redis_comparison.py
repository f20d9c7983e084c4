"""Compares two generations of a Redis read store member by member, in the server: only differences are returned, and their number is
bounded.

Counters belong to no single stream, and live orders change them in one generation first, and in the other a moment later. So members
that differ in the scan are read again: both values in one script, together with the number of streams in each generation. Only
instants at which both have the same streams count: a member that is equal at one is equal; a member that differs at several is
different. A member that was never read at such an instant is undecided.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from deploy.compare.comparison import Difference, Findings, Kind, Part, Sample
from deploy.compare.redis_generations import BATCH_SIZE, POSITIONS, Member, RedisGenerationPair, Values, kind_of
from deploy.compare.redis_positions import HELD, MAX_DIFFERING, compare_positions

if TYPE_CHECKING:
    from redis.asyncio import Redis

MAX_ROUNDS: Final = 30
PAUSE_S: Final = 0.1
MAX_SUSPECTS: Final = 10_000
REQUIRED_MISMATCHES: Final = 3
"""A member is different if it differs at this many instants at which both have the same streams."""

BOOKKEEPING: Final = frozenset({POSITIONS, HELD, "due", "progress", "discarded", "totalled", "first", "counted"})
"""Keys with the progress of a generation; they are not compared."""


COMPARED: Final = frozenset({"hash", "zset", "set", "none"})


class RedisComparison:
    """``here`` and ``there`` are prefixes; at most ``sample`` members of each kind of key are shown."""

    def __init__(self, redis: "Redis", here: str, there: str, sample: int) -> None:
        self._pair = RedisGenerationPair(redis, (here, there))
        self._sample = sample
        self._parts: dict[str, Part] = {}
        self._suspects: dict[Member, None] = {}
        """Without duplicates, although a scan may return a member twice."""
        self._not_kept: Counter[str] = Counter()
        """By kind of key: the number of further suspects, beyond MAX_SUSPECTS."""

    async def run(self, kinds: Sequence[str]) -> Findings:
        """``kinds``: the kinds of stream whose positions are compared."""
        positions, differing, others, rounds = await compare_positions(self._pair, self._sample, kinds)
        if len(differing) > MAX_DIFFERING:
            note = f"more than {MAX_DIFFERING:,} streams are at different versions: figures were not compared"
            return Findings(parts=[], positions=positions, looks=rounds, note=note)
        # The constant difference in the number of streams: unchanged streams that only one of the two has.
        surplus = sum((there == 0) - (here == 0) for here, there in (*differing.values(), *others.values()))
        await self._compare_keys(surplus)
        rounds += await self._recheck_suspects(surplus)
        return Findings(parts=[self._parts[name] for name in sorted(self._parts)], positions=positions, looks=rounds)

    async def _compare_keys(self, surplus: int) -> None:
        """Compare every key except the bookkeeping: members that differ become suspects."""
        here, there = [
            {key for key in await self._pair.keys(side) if kind_of(key) not in BOOKKEEPING} for side in (0, 1)
        ]
        for key in sorted(here | there):
            part = self._parts.setdefault(kind_of(key), Part(name=kind_of(key), keys=(0, 0)))
            known = part.keys or (0, 0)
            part.keys = (known[0] + (key in here), known[1] + (key in there))
            rows = [0, 0]
            for side in (0, 1):
                async for step in self._pair.scan(key, side, most=MAX_SUSPECTS, surplus=surplus):
                    rows[side] = step.members
                    part.undecided += 0 if step.same_streams else step.seen
                    self._suspect(key, part, side, step.types, step.differ, step.first)
            part.rows = (part.rows[0] + rows[0], part.rows[1] + rows[1])

    def _suspect(self, key: str, part: Part, side: int, types: tuple[str, str], differ: int, first: list[str]) -> None:
        if "none" not in types and types[0] != types[1]:
            part.different += side == 0
            part.note = f"{key} is not of the same type in both: {types[side]}, {types[1 - side]}"
            return
        if types[0] not in COMPARED:
            self._add_unsupported_type(key, part, side, types)
            return
        room = MAX_SUSPECTS - len(self._suspects)
        self._suspects |= {Member(key, name): None for name in first[:room]}
        self._not_kept[part.name] += differ - min(room, len(first))

    def _add_unsupported_type(self, key: str, part: Part, side: int, types: tuple[str, str]) -> None:
        """Add a key of a type that no projection uses."""
        if types[1] == "none":
            part.extra += side == 0
            part.missing += side == 1
            part.samples.append(Sample(key=key, kind=Kind.MISSING if side else Kind.EXTRA))
        else:
            part.undecided += side == 0
        part.note = f"{key} is a {types[0]}: its content is not compared"

    async def _recheck_suspects(self, surplus: int) -> int:
        """Separate real differences from those due to timing; returns the number of rounds."""
        remaining, mismatches, rounds = list(self._suspects), Counter[Member](), 0
        while remaining and rounds < MAX_ROUNDS:
            if rounds:
                await asyncio.sleep(PAUSE_S)
            rounds += 1
            undecided = []
            for start in range(0, len(remaining), BATCH_SIZE):
                members = remaining[start : start + BATCH_SIZE]
                current = await self._pair.read_members(members)
                same_streams = current.streams[0] - current.streams[1] == surplus
                for member, values in zip(members, current.values, strict=True):
                    if not same_streams:
                        undecided.append(member)
                    elif values[0] != values[1]:
                        mismatches[member] += 1
                        if mismatches[member] < REQUIRED_MISMATCHES:
                            undecided.append(member)
                        else:
                            self._confirm(member, values)
            remaining = undecided
        for member in remaining:
            self._parts[member.kind].undecided += 1
        for name, count in self._not_kept.items():
            # The further suspects count like those that were checked again.
            part = self._parts[name]
            if part.equal:
                part.undecided += count
            else:
                part.different += count
        return rounds

    def _confirm(self, member: Member, values: Values) -> None:
        part = self._parts[member.kind]
        here, there = values
        if here is None:
            part.missing += 1
        elif there is None:
            part.extra += 1
        else:
            part.different += 1
        if len(part.samples) < self._sample:
            kind = Kind.MISSING if here is None else Kind.EXTRA if there is None else Kind.DIFFERENT
            differences = [Difference(column="value", values=values)]
            part.samples.append(Sample(key=f"{member.key} {member.name}", kind=kind, differences=differences))
