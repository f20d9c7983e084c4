"""The request as handlers get it: with the stores at hand."""

from typing import Any

from litestar import Request
from litestar.datastructures import State

from query_service.analytics_store import AnalyticsStore
from query_service.postgres_store import PostgresStore
from query_service.stores import ReadStore


class Stores:
    """The three read stores of one application."""

    def __init__(self, summary: PostgresStore, search: PostgresStore, analytics: AnalyticsStore) -> None:
        self.summary = summary
        self.search = search
        self.analytics = analytics

    @property
    def all(self) -> tuple[ReadStore, ...]:
        return self.summary, self.analytics, self.search

    async def close(self) -> None:
        for store in self.all:
            await store.close()


class QueryRequest(Request[Any, Any, State]):
    @property
    def stores(self) -> Stores:
        stores: Stores = self.app.state.stores
        return stores
