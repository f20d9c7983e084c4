"""Dashboards that ask all the time for what does not change: the loaded baskets. Any error, and any other answer than the first, counts.

An answer made of two generations, or of one that does not have everything yet, is another answer than the first.
"""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from deploy.drills.rebuild.client import Client, ServiceError
from deploy.drills.rebuild.live import Trouble

READERS: Final = 3
PAUSE_S: Final = 0.05
"""Between two questions of a reader: they are here to notice, not to load the machine."""
ORDERS: Final = 200
MOST_TROUBLES: Final = 20


@dataclass(frozen=True)
class Question:
    projection: str
    path: str
    parameters: tuple[tuple[str, str], ...] = ()


class Readers:
    """``queries`` is a client of the query service; ``orders``: ids of baskets that are loaded and stay as they are."""

    def __init__(self, queries: Client, orders: list[str], words: list[str]) -> None:
        self._queries = queries
        self._questions = _questions(orders, words)
        self._first: dict[Question, Any] = {}
        self._random = random.Random(4711)  # noqa: S311 - which question comes next is no secret
        self.asked: Counter[str] = Counter()
        """Answers that were as they must be, by projection."""
        self.errors = 0
        self.changed = 0
        self.troubles: list[Trouble] = []
        """The first of them."""

    async def learn(self) -> None:
        """Ask everything once, before anything is rebuilt. Raises ServiceError."""
        for question in self._questions:
            answer = await self._queries.get(question.path, question.parameters)
            self._first[question] = answer.needed()

    async def run(self, stopping: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(READERS):
                group.create_task(self._read_on(stopping))

    async def _read_on(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            await self._ask(self._random.choice(self._questions))
            await asyncio.sleep(PAUSE_S)

    async def _ask(self, question: Question) -> None:
        try:
            answer = await self._queries.get(question.path, question.parameters)
        except ServiceError as error:
            self.errors += 1
            self._note(question, str(error))
            return
        if not answer.ok:
            self.errors += 1
            self._note(question, str(answer))
        elif (found := answer.json()) != self._first[question]:
            self.changed += 1
            self._note(question, f"another answer: {str(found)[:200]} instead of {str(self._first[question])[:200]}")
        else:
            self.asked[question.projection] += 1

    def _note(self, question: Question, why: str) -> None:
        if len(self.troubles) < MOST_TROUBLES:
            self.troubles.append(Trouble(f"{question.path} {dict(question.parameters)}", why))


def _questions(orders: list[str], words: list[str]) -> list[Question]:
    """Of each projection as many: its share is what is asked."""
    chosen = orders[:ORDERS]
    summary = [Question("summary", f"/orders/{order}") for order in chosen]
    summary += [Question("summary", f"/orders/{order}/history") for order in chosen]
    search = [Question("search", "/search/orders", (("q", order),)) for order in chosen]
    search += [Question("search", "/search/products", (("q", word), ("limit", "10"))) for word in words]
    year = (("from", "2017-01-01"), ("to", "2018-01-01"), ("currency", "USD"))
    analytics = [
        Question("analytics", "/analytics/revenue", (*year, ("granularity", "day"))),
        Question("analytics", "/analytics/customers", year[:2]),
        Question("analytics", "/analytics/top-products", (*year, ("limit", "20"))),
    ]
    analytics += [
        Question(
            "analytics",
            "/analytics/revenue",
            (
                ("from", f"2017-{month:02}-01"),
                ("to", f"2017-{month:02}-08"),
                ("currency", "USD"),
                ("granularity", "hour"),
            ),
        )
        for month in range(1, 13)
    ]
    most = max(len(summary), len(search))
    return summary + search + analytics * (most // len(analytics))
