"""Where the streams of two generations in Redis stand. Versions only grow: a stream seen at the same one in both is level.

Those that are apart are looked at again, a bounded number of times, and counted as behind or ahead only if they have not
moved in all that time.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from pydantic_core import from_json

from deploy.compare.comparison import Positions, StreamApart, standing_apart
from deploy.compare.redis_walking import AT_ONCE, POSITIONS, Member, Walking
from shared.read_models import is_of

LOOKS: Final = 10
PAUSE_S: Final = 0.5
MOST_APART: Final = 10_000
"""More streams apart than this, and no more of them are looked for."""
HELD: Final = "held"

Apart = dict[str, tuple[int, int]]


async def compare_positions(walking: Walking, sample: int, kinds: Sequence[str]) -> tuple[Positions, Apart, Apart, int]:
    """The positions, the streams that stay apart, the streams of other kinds that are apart, and how often was looked."""
    streams, of_other_kinds = await _apart(walking, kinds)
    first = last = await _applied(walking, streams)
    others = await _applied(walking, of_other_kinds)
    looks = 1
    while last and len(first) <= MOST_APART and looks < LOOKS:
        await asyncio.sleep(PAUSE_S)
        looks += 1
        last = await _applied(walking, list(last))
    still, moving = standing_apart(first, last)
    positions = Positions(
        streams=await walking.sizes(POSITIONS),
        held=await walking.sizes(HELD),
        behind=sum(here < there for here, there in still.values()),
        ahead=sum(here > there for here, there in still.values()),
        moving=moving,
        samples=await _samples(walking, still, sample),
    )
    return positions, still, others, looks


async def _apart(walking: Walking, kinds: Sequence[str]) -> tuple[list[str], list[str]]:
    """Streams that were at different versions when they were passed: of these kinds, and others."""
    found: list[str] = []
    others: list[str] = []
    for side in (0, 1):
        async for step in walking.walk(POSITIONS, side, most=MOST_APART + 1, apart=None):
            for stream in step.first:
                (found if is_of(kinds, stream) else others).append(stream)
            if len(found) > MOST_APART:
                return found, others
    return found, others


async def _applied(walking: Walking, streams: Sequence[str]) -> Apart:
    """Those of the streams that are apart at this moment."""
    found = {}
    for start in range(0, len(streams), AT_ONCE):
        members = [Member(POSITIONS, stream) for stream in streams[start : start + AT_ONCE]]
        look = await walking.look(members)
        for member, (here, there) in zip(members, look.values, strict=True):
            if here != there:
                found[member.name] = (int(here or 0), int(there or 0))
    return found


async def _samples(walking: Walking, still: Mapping[str, tuple[int, int]], sample: int) -> list[StreamApart]:
    shown = sorted(still)[:sample]
    held = await walking.fields(HELD, shown)
    return [
        StreamApart(stream=stream, applied=still[stream], held=(_why(here), _why(there)))
        for stream, (here, there) in zip(shown, held, strict=True)
    ]


def _why(hold: str | None) -> str | None:
    if hold is None:
        return None
    known = from_json(hold)
    return f"{known['status']}: {known['reason']}"
