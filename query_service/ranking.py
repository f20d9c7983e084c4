"""The largest sums over several sorted sets, exactly, without reading the sets whole (Fagin's threshold algorithm).

Every list is read from its top in growing chunks. A member not seen in any of them can add up to no more than the last
scores read, together; when the worst of the best ``limit`` is above that, none is missing. Members that tie are in order
of their ids, so the bound has to be passed, not reached.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

CHUNK: Final = 64


@dataclass(frozen=True, slots=True)
class Sold:
    """One product over the whole range."""

    product_id: str
    units: int
    revenue: int


class Lists(Protocol):
    """The sorted sets, one for each span; scores are 0 or more, and a member that is absent counts 0."""

    async def chunk(self, start: int, count: int) -> Sequence[Sequence[tuple[str, int]]]:
        """From each list, ``count`` members from position ``start`` on, by descending score."""

    async def totals(self, members: Sequence[str]) -> Sequence[Sold]:
        """Each member's sums."""


async def top(lists: Lists, limit: int, *, by_revenue: bool) -> list[Sold]:
    """The ``limit`` products that sold most; one of which nothing was sold (all orders cancelled) is not among them."""
    seen: dict[str, Sold] = {}
    start, count = 0, max(CHUNK, limit)
    while True:
        chunks = await lists.chunk(start, count)
        fresh = {member for chunk in chunks for member, _ in chunk} - seen.keys()
        if fresh:
            seen.update((one.product_id, one) for one in await lists.totals(sorted(fresh)))
        best = _best(seen.values(), limit, by_revenue=by_revenue)
        unread = [chunk[-1][1] for chunk in chunks if len(chunk) == count]
        if not unread or (len(best) == limit and _score(best[-1], by_revenue) > sum(unread)):
            return best
        start, count = start + count, count * 2


def _best(candidates: Iterable[Sold], limit: int, *, by_revenue: bool) -> list[Sold]:
    sold = [one for one in candidates if one.units > 0]
    return sorted(sold, key=lambda one: (-_score(one, by_revenue), one.product_id))[:limit]


def _score(sold: Sold, by_revenue: bool) -> int:
    return sold.revenue if by_revenue else sold.units
