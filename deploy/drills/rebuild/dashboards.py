"""Dashboards that continuously query data that do not change: the loaded baskets. Every error, and every response that differs
from the first, is counted.

A response made of two generations, or of an incomplete one, would differ from the first.
"""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from deploy.drills.rebuild.client import Client, ServiceError
from deploy.drills.rebuild.live_orders import Failure

DASHBOARD_COUNT: Final = 3
PAUSE_S: Final = 0.05
"""Between two queries of a dashboard: they detect changes and are not meant as load."""
MAX_ORDERS: Final = 200
MAX_FAILURES: Final = 20


@dataclass(frozen=True)
class DashboardQuery:
    projection: str
    path: str
    parameters: tuple[tuple[str, str], ...] = ()


class Dashboards:
    """Queries the service through ``queries``; ``orders``: ids of loaded baskets that do not change."""

    def __init__(self, queries: Client, orders: list[str], words: list[str]) -> None:
        self._queries = queries
        self._all_queries = _queries(orders, words)
        self._expected: dict[DashboardQuery, Any] = {}
        self._random = random.Random(4711)  # noqa: S311 - which query comes next is no secret
        self.unchanged: Counter[str] = Counter()
        """Projection → number of responses that equalled the first."""
        self.errors = 0
        self.changed = 0
        self.failures: list[Failure] = []
        """The first MAX_FAILURES failures."""

    async def record_expected(self) -> None:
        """Send every query once, before anything is rebuilt. Raises ServiceError."""
        for query in self._all_queries:
            response = await self._queries.get(query.path, query.parameters)
            self._expected[query] = response.json_or_raise()

    async def run(self, stopping: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(DASHBOARD_COUNT):
                group.create_task(self._query_until_stopped(stopping))

    async def _query_until_stopped(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            await self._query(self._random.choice(self._all_queries))
            await asyncio.sleep(PAUSE_S)

    async def _query(self, query: DashboardQuery) -> None:
        try:
            response = await self._queries.get(query.path, query.parameters)
        except ServiceError as error:
            self.errors += 1
            self._record_failure(query, str(error))
            return
        if not response.ok:
            self.errors += 1
            self._record_failure(query, str(response))
        elif (found := response.json()) != self._expected[query]:
            self.changed += 1
            self._record_failure(
                query, f"another response: {str(found)[:200]} instead of {str(self._expected[query])[:200]}"
            )
        else:
            self.unchanged[query.projection] += 1

    def _record_failure(self, query: DashboardQuery, why: str) -> None:
        if len(self.failures) < MAX_FAILURES:
            self.failures.append(Failure(f"{query.path} {dict(query.parameters)}", why))


def _queries(orders: list[str], words: list[str]) -> list[DashboardQuery]:
    """About the same number of queries for each projection, because the dashboards choose among them at random."""
    chosen = orders[:MAX_ORDERS]
    summary = [DashboardQuery("summary", f"/orders/{order}") for order in chosen]
    summary += [DashboardQuery("summary", f"/orders/{order}/history") for order in chosen]
    search = [DashboardQuery("search", "/search/orders", (("q", order),)) for order in chosen]
    search += [DashboardQuery("search", "/search/products", (("q", word), ("limit", "10"))) for word in words]
    year = (("from", "2017-01-01"), ("to", "2018-01-01"), ("currency", "USD"))
    analytics = [
        DashboardQuery("analytics", "/analytics/revenue", (*year, ("granularity", "day"))),
        DashboardQuery("analytics", "/analytics/customers", year[:2]),
        DashboardQuery("analytics", "/analytics/top-products", (*year, ("limit", "20"))),
    ]
    analytics += [
        DashboardQuery(
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
