"""Each read store in turn, empty, on real servers."""

from collections.abc import AsyncIterator

import pytest

from deploy.servers.provide import Servers
from projectors.models.search.store import SearchStore
from projectors.models.summary.store import SummaryStore
from projectors.stores.port import Store
from tests.contract.read_stores import PostgresReadStore, ReadStore, RedisReadStore


@pytest.fixture(params=["summary", "analytics", "search"])
async def read_store(request: pytest.FixtureRequest, servers: Servers) -> ReadStore:
    """An empty read store of each kind in turn."""
    found: ReadStore
    match request.param:
        case "summary":
            found = PostgresReadStore("summary", SummaryStore, servers.stores["summary"])
        case "search":
            found = PostgresReadStore("search", SearchStore, servers.stores["search"])
        case _:
            found = RedisReadStore(servers.stores["analytics"])
    await found.clear()
    return found


@pytest.fixture
async def store(read_store: ReadStore) -> AsyncIterator[Store]:
    store = read_store.connect()
    await store.open()
    yield store
    await store.close()
