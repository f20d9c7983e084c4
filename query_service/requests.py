"""The request as handlers get it: with the stores at hand."""

from typing import Any

from litestar import Request
from litestar.datastructures import State

from query_service.analytics_store import AnalyticsStore
from query_service.operations_store import OperationsStore
from query_service.operator import Operators
from query_service.postgres_store import PostgresStore
from query_service.stores import ReadStore


class Stores:
    """The three read stores of one application, and the operations database beside them."""

    def __init__(
        self,
        summary: PostgresStore,
        search: PostgresStore,
        analytics: AnalyticsStore,
        operations: OperationsStore | None = None,
    ) -> None:
        self.summary = summary
        self.search = search
        self.analytics = analytics
        self.operations = operations or OperationsStore("")

    @property
    def all(self) -> tuple[ReadStore, ...]:
        """Of the projections: those that readiness and freshness are about."""
        return self.summary, self.analytics, self.search

    async def close(self) -> None:
        for store in (*self.all, self.operations):
            await store.close()


class QueryRequest(Request[Any, Any, State]):
    @property
    def stores(self) -> Stores:
        stores: Stores = self.app.state.stores
        return stores

    @property
    def operators(self) -> Operators:
        operators: Operators = self.app.state.operators
        return operators
