"""The largest sums over several sorted sets, exactly, and mostly without reading them whole.

After Fagin, Lotem and Naor, "Optimal aggregation algorithms for middleware" (2003), no random access until the end.

What is negative is read first. Then every set is read from its top in growing chunks, and what was read is added up. What is
still unread adds at most what the last read of each set may have been ranked above, together the *slack*. So a member's sum
lies between what was added up and that plus the slack, and one not seen at all has at most the slack. When the ``limit``-th
best is above the slack, and few enough could still be among the best, those are looked up and the answer is exact.
"""

import heapq
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from shared.views.analytics import EXACT

CHUNK: Final = 256
MAX_LOOKUPS: Final = 1000
"""Most members looked up in every set; reading on is cheaper than looking up more."""


class RankedSets(Protocol):
    """The sorted sets, one for each span, in order of the doubles nearest to their figures; a member that is absent counts 0."""

    async def chunk(self, start: int, count: int) -> Sequence[Sequence[tuple[str, int]]]:
        """From each set, ``count`` members from position ``start`` on, in descending order, with their figures."""

    async def negatives(self) -> Sequence[Sequence[tuple[str, int]]]:
        """From each set, all members whose figures are negative: mostly none. (An order was cancelled whose placing was discarded.)"""

    async def totals(self, members: Sequence[str]) -> Sequence[int]:
        """Each member's sum over all sets."""


async def top(lists: RankedSets, limit: int) -> list[tuple[str, int]]:
    """The ``limit`` members with the largest sums above 0, and the sums; ties in order of the members."""
    sums: dict[str, int] = {}
    scores_read: defaultdict[int, dict[str, int]] = defaultdict(dict)

    def add(chunks: Sequence[Sequence[tuple[str, int]]]) -> None:
        for index, chunk in enumerate(chunks):
            seen = scores_read[index]
            for member, score in chunk:
                # A set may show a member twice, as it may change while it is read: the latest score counts.
                sums[member] = sums.get(member, 0) + score - seen.get(member, 0)
                seen[member] = score

    add(await lists.negatives())
    start, count = 0, max(CHUNK, limit)
    while True:
        chunks = await lists.chunk(start, count)
        add(chunks)
        slack = sum(_max_unread(chunk[-1][1]) for chunk in chunks if len(chunk) == count)
        if not slack:
            return _best(sums.items(), limit)
        best = heapq.nlargest(limit, sums.values())
        if len(best) == limit and best[-1] > slack:
            if len(chunks) == 1:  # what was read of it are sums already
                return _best(sums.items(), limit)
            candidates = [member for member, score in sums.items() if score + slack >= best[-1]]
            if len(candidates) <= max(MAX_LOOKUPS, 2 * limit):
                return _best(zip(candidates, await lists.totals(candidates), strict=True), limit)
        start, count = start + count, count * 2


def _max_unread(last: int) -> int:
    """No figure is greater that a set has behind this one. From 2^53 on there may be several to one double, in any order."""
    return max(0, last) if last < EXACT else last + int(math.ulp(float(last)))


def _best(sums: Iterable[tuple[str, int]], limit: int) -> list[tuple[str, int]]:
    return heapq.nsmallest(limit, (one for one in sums if one[1] > 0), key=lambda one: (-one[1], one[0]))
