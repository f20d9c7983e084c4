"""The members with the largest sums over several sorted sets, exact, and usually without reading the sets completely.

The algorithm follows Fagin, Lotem and Naor, "Optimal aggregation algorithms for middleware" (2003), without random access until
the end.

Negative figures are read first. Then every set is read from its top in growing chunks, and the figures are summed. The unread
rest of a set adds to a member at most the last figure read from it; the sum of these bounds is the *slack*. So a member's sum lies
between its partial sum and that plus the slack, and the sum of an unseen member is at most the slack. Once the ``limit``-th best
partial sum is above the slack, and few enough members can still be among the best, their sums are looked up and the result is exact.
"""

import heapq
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from shared.views.analytics import EXACT

CHUNK: Final = 256
MAX_LOOKUPS: Final = 1000
"""Maximum number of members looked up in every set; above it, reading the next chunk is cheaper."""


class RankedSets(Protocol):
    """The sorted sets, one for each span, ordered by the doubles nearest to their figures. An absent member counts as 0."""

    async def chunk(self, start: int, count: int) -> Sequence[Sequence[tuple[str, int]]]:
        """``count`` members of each set from position ``start`` on, in descending order, with their figures."""

    async def negatives(self) -> Sequence[Sequence[tuple[str, int]]]:
        """All members of each set with negative figures; usually none. (An order was cancelled whose placement was discarded.)"""

    async def totals(self, members: Sequence[str]) -> Sequence[int]:
        """Each member's sum over all sets."""


async def top(lists: RankedSets, limit: int) -> list[tuple[str, int]]:
    """The ``limit`` members with the largest sums above 0, with these sums; ties are ordered by member."""
    sums: dict[str, int] = {}
    scores_read: defaultdict[int, dict[str, int]] = defaultdict(dict)

    def add(chunks: Sequence[Sequence[tuple[str, int]]]) -> None:
        for index, chunk in enumerate(chunks):
            seen = scores_read[index]
            for member, score in chunk:
                # A set may change while it is read and return a member twice: the latest score counts.
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
            if len(chunks) == 1:  # the figures of a single set are the sums
                return _best(sums.items(), limit)
            candidates = [member for member, score in sums.items() if score + slack >= best[-1]]
            if len(candidates) <= max(MAX_LOOKUPS, 2 * limit):
                return _best(zip(candidates, await lists.totals(candidates), strict=True), limit)
        start, count = start + count, count * 2


def _max_unread(last: int) -> int:
    """The largest figure that may follow this one in its set. From 2^53 on, several figures share a double, in any order."""
    return max(0, last) if last < EXACT else last + int(math.ulp(float(last)))


def _best(sums: Iterable[tuple[str, int]], limit: int) -> list[tuple[str, int]]:
    return heapq.nsmallest(limit, (one for one in sums if one[1] > 0), key=lambda one: (-one[1], one[0]))
