"""Ranking finds what adding everything up would find, in the same order."""

from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from query_service.analytics import ranking
from query_service.analytics.ranking import top

MEMBERS = [f"p{number}" for number in range(40)]
FIGURES = st.integers(-10, 30) | st.sampled_from(
    [2**53 - 1, 2**53, 2**53 + 1, 2**54 + 1, 2**54 + 2, 2**54 + 3, -(2**53) - 1]
)
LISTS = st.lists(st.dictionaries(st.sampled_from(MEMBERS), FIGURES, max_size=40), max_size=5)


class InMemory:
    def __init__(self, lists: Sequence[dict[str, int]]) -> None:
        self.lists = lists
        self.read = 0

    async def chunk(self, start: int, count: int) -> list[list[tuple[str, int]]]:
        ranked = [sorted(one.items(), key=lambda item: (-float(item[1]), item[0])) for one in self.lists]
        chunks = [one[start : start + count] for one in ranked]
        self.read += sum(map(len, chunks))
        return chunks

    async def negatives(self) -> list[list[tuple[str, int]]]:
        return [[item for item in one.items() if item[1] < 0] for one in self.lists]

    async def totals(self, members: Sequence[str]) -> list[int]:
        return [sum(one.get(member, 0) for one in self.lists) for member in members]


@given(LISTS, st.integers(1, 12), st.integers(1, 5), st.integers(1, 50))
async def test_the_best_are_found_in_order_with_ties_by_id(
    lists: list[dict[str, int]], limit: int, chunk: int, looked_up: int
) -> None:
    before = ranking.CHUNK, ranking.MAX_LOOKUPS
    vars(ranking).update(CHUNK=chunk, MAX_LOOKUPS=looked_up)
    try:
        found = await top(InMemory(lists), limit)
    finally:
        vars(ranking).update(CHUNK=before[0], MAX_LOOKUPS=before[1])
    sums: Counter[str] = Counter()
    for one in lists:
        sums.update(one)
    assert found == sorted(((m, n) for m, n in sums.items() if n > 0), key=lambda one: (-one[1], one[0]))[:limit]


async def test_a_few_that_stand_out_are_found_without_reading_everything() -> None:
    long_tail = {f"p{number:05}": 1 for number in range(20_000)}
    lists = InMemory([{**long_tail, "milk": 900, "bread": 800}, {**long_tail, "milk": 700, "bread": 900}])
    assert await top(lists, 2) == [("bread", 1700), ("milk", 1600)]
    assert lists.read < 1_500
