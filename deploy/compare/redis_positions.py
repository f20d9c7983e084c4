"""Compares the positions of two generations in Redis. Versions only grow, so a stream that was at the same version once is equal.

Streams at different versions are checked again in a bounded number of rounds, and count as behind or ahead only if they have not
advanced in any of them.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from pydantic_core import from_json

from deploy.compare.comparison import Positions, StreamDifference, unchanged_differences
from deploy.compare.redis_generations import BATCH_SIZE, POSITIONS, Member, RedisGenerationPair
from shared.read_models import is_of

MAX_ROUNDS: Final = 10
PAUSE_S: Final = 0.5
MAX_DIFFERING: Final = 10_000
"""With more streams at different versions, the scan ends."""
HELD: Final = "held"

Differing = dict[str, tuple[int, int]]


async def compare_positions(
    pair: RedisGenerationPair, sample: int, kinds: Sequence[str]
) -> tuple[Positions, Differing, Differing, int]:
    """The positions, the streams that stay at different versions, those of other kinds that differ, and the number of rounds."""
    streams, of_other_kinds = await _find_differing(pair, kinds)
    first = last = await _applied(pair, streams)
    others = await _applied(pair, of_other_kinds)
    rounds = 1
    while last and len(first) <= MAX_DIFFERING and rounds < MAX_ROUNDS:
        await asyncio.sleep(PAUSE_S)
        rounds += 1
        last = await _applied(pair, list(last))
    unchanged, moving = unchanged_differences(first, last)
    positions = Positions(
        streams=await pair.sizes(POSITIONS),
        held=await pair.sizes(HELD),
        behind=sum(here < there for here, there in unchanged.values()),
        ahead=sum(here > there for here, there in unchanged.values()),
        moving=moving,
        samples=await _samples(pair, unchanged, sample),
    )
    return positions, unchanged, others, rounds


async def _find_differing(pair: RedisGenerationPair, kinds: Sequence[str]) -> tuple[list[str], list[str]]:
    """Streams that were at different versions in the scan: of these kinds, and of others."""
    found: list[str] = []
    others: list[str] = []
    for side in (0, 1):
        async for step in pair.scan(POSITIONS, side, most=MAX_DIFFERING + 1, surplus=None):
            for stream in step.first:
                (found if is_of(kinds, stream) else others).append(stream)
            if len(found) > MAX_DIFFERING:
                return found, others
    return found, others


async def _applied(pair: RedisGenerationPair, streams: Sequence[str]) -> Differing:
    """The streams that are at different versions now, with their versions."""
    found = {}
    for start in range(0, len(streams), BATCH_SIZE):
        members = [Member(POSITIONS, stream) for stream in streams[start : start + BATCH_SIZE]]
        current = await pair.read_members(members)
        for member, (here, there) in zip(members, current.values, strict=True):
            if here != there:
                found[member.name] = (int(here or 0), int(there or 0))
    return found


async def _samples(
    pair: RedisGenerationPair, unchanged: Mapping[str, tuple[int, int]], sample: int
) -> list[StreamDifference]:
    shown = sorted(unchanged)[:sample]
    held = await pair.fields(HELD, shown)
    return [
        StreamDifference(stream=stream, applied=unchanged[stream], held=(_hold_text(here), _hold_text(there)))
        for stream, (here, there) in zip(shown, held, strict=True)
    ]


def _hold_text(hold: str | None) -> str | None:
    if hold is None:
        return None
    known = from_json(hold)
    return f"{known['status']}: {known['reason']}"
