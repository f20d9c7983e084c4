"""Two generations of a Redis read store, member by member, inside the server: what comes here is what differs, and that is bounded.

Counters belong to no single stream, and live orders change them: the generation that is read first, the other a moment later. So what
differs in passing is looked at again, both values in one script together with the numbers of streams that each generation knows. Only
an instant at which these say that both know the same streams counts: equal there is equal, for good; different at several such
instants is different. What never showed itself at one is undecided.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from deploy.compare.comparison import Difference, Findings, Kind, Part, Sample
from deploy.compare.redis_positions import HELD, MOST_APART, compare_positions
from deploy.compare.redis_walking import AT_ONCE, POSITIONS, Member, Values, Walking, kind_of

if TYPE_CHECKING:
    from redis.asyncio import Redis

LOOKS: Final = 30
PAUSE_S: Final = 0.1
MOST_SUSPECTS: Final = 10_000
STRIKES: Final = 3
"""So many instants at which both know the same streams, and a member differs at each: then it is different."""

BOOKKEEPING: Final = frozenset({POSITIONS, HELD, "due", "progress", "discarded", "totalled", "first"})
"""Keys that say how far a generation has come; they are no data."""


COMPARED: Final = frozenset({"hash", "zset", "set", "none"})


class RedisComparison:
    """``here`` and ``there`` are prefixes; at most ``sample`` members of each kind of key are shown."""

    def __init__(self, redis: "Redis", here: str, there: str, sample: int) -> None:
        self._walking = Walking(redis, (here, there))
        self._sample = sample
        self._parts: dict[str, Part] = {}
        self._suspects: dict[Member, None] = {}
        """Each once, though a walk may pass a member twice."""
        self._beyond: Counter[str] = Counter()
        """By kind of key: how many more there were than are kept to be looked at again."""

    async def run(self, kinds: Sequence[str]) -> Findings:
        """``kinds``: the kinds of stream whose positions are compared."""
        positions, apart, others, looks = await compare_positions(self._walking, self._sample, kinds)
        if len(apart) > MOST_APART:
            note = f"more than {MOST_APART:,} streams are apart: figures were not compared"
            return Findings(parts=[], positions=positions, looks=looks, note=note)
        # Of the streams that stand still, those that only one of the two knows: a difference that is always there.
        always = sum((there == 0) - (here == 0) for here, there in (*apart.values(), *others.values()))
        await self._compare_keys(always)
        looks += await self._look_again(always)
        return Findings(parts=[self._parts[name] for name in sorted(self._parts)], positions=positions, looks=looks)

    async def _compare_keys(self, always: int) -> None:
        """Every key but the bookkeeping: what differs becomes a suspect."""
        here, there = [
            {key for key in await self._walking.keys(side) if kind_of(key) not in BOOKKEEPING} for side in (0, 1)
        ]
        for key in sorted(here | there):
            part = self._parts.setdefault(kind_of(key), Part(name=kind_of(key), keys=(0, 0)))
            known = part.keys or (0, 0)
            part.keys = (known[0] + (key in here), known[1] + (key in there))
            rows = [0, 0]
            for side in (0, 1):
                async for step in self._walking.walk(key, side, most=MOST_SUSPECTS, apart=always):
                    rows[side] = step.members
                    part.undecided += 0 if step.level else step.seen
                    self._suspect(key, part, side, step.types, step.differ, step.first)
            part.rows = (part.rows[0] + rows[0], part.rows[1] + rows[1])

    def _suspect(self, key: str, part: Part, side: int, types: tuple[str, str], differ: int, first: list[str]) -> None:
        if "none" not in types and types[0] != types[1]:
            part.different += side == 0
            part.note = f"{key} is not of the same type in both: {types[side]}, {types[1 - side]}"
            return
        if types[0] not in COMPARED:
            self._foreign(key, part, side, types)
            return
        room = MOST_SUSPECTS - len(self._suspects)
        self._suspects |= {Member(key, name): None for name in first[:room]}
        self._beyond[part.name] += differ - min(room, len(first))

    def _foreign(self, key: str, part: Part, side: int, types: tuple[str, str]) -> None:
        """A key of a type that no projection of ours uses."""
        if types[1] == "none":
            part.extra += side == 0
            part.missing += side == 1
            part.samples.append(Sample(key=key, kind=Kind.MISSING if side else Kind.EXTRA))
        else:
            part.undecided += side == 0
        part.note = f"{key} is a {types[0]}: what it holds is not compared"

    async def _look_again(self, always: int) -> int:
        """Tell what differs from what was only seen in passing; returns how often was looked."""
        open_, strikes, looks = list(self._suspects), Counter[Member](), 0
        while open_ and looks < LOOKS:
            if looks:
                await asyncio.sleep(PAUSE_S)
            looks += 1
            left = []
            for start in range(0, len(open_), AT_ONCE):
                members = open_[start : start + AT_ONCE]
                look = await self._walking.look(members)
                level = look.streams[0] - look.streams[1] == always
                for member, values in zip(members, look.values, strict=True):
                    if not level:
                        left.append(member)
                    elif values[0] != values[1]:
                        strikes[member] += 1
                        if strikes[member] < STRIKES:
                            left.append(member)
                        else:
                            self._confirm(member, values)
            open_ = left
        for member in open_:
            self._parts[member.kind].undecided += 1
        for name, count in self._beyond.items():
            # Beyond what is kept: of the same make as those that were looked at again.
            part = self._parts[name]
            if part.equal:
                part.undecided += count
            else:
                part.different += count
        return looks

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
