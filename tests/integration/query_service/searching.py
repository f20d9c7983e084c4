"""A search store of one's own, as the projector writes it, and the query service over it."""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx

from deploy.servers.provide import Servers
from projectors.models.search.store import SearchStore
from projectors.stores.migrations import migrate
from projectors.stores.port import Advance, Commit
from query_service.app import create_app
from query_service.http.requests import Stores
from query_service.stores.postgres_store import PostgresStore
from query_service.stores.redis_store import RedisStore
from shared.contracts.catalog import ProductCreated
from tests import shop


def product(product_id: str, name: str, description: str | None = None, brand: str | None = None) -> Advance:
    created = ProductCreated(
        product_id=product_id,
        name=name,
        description=description,
        category="Goods",
        brand=brand,
        price=1,
        currency="EUR",
        created_at=shop.NOON,
    )
    return shop.run(f"products/{product_id}", created)


@dataclass(frozen=True)
class Searching:
    schema: str
    store: SearchStore
    owner: asyncpg.Connection
    client: httpx.AsyncClient

    async def products(self, names: Mapping[str, str]) -> None:
        await self.store.commit(Commit([product(product_id, name) for product_id, name in names.items()]))

    async def found(self, q: str, path: str = "/search/products") -> list[str]:
        """The ids of all that has the words, in order, a page of 200 at most."""
        answer = await self.client.get(path, params={"q": q, "limit": 200})
        assert answer.status_code == 200, answer.text
        key = "product_id" if path.endswith("products") else "order_id"
        return [hit[key] for hit in answer.json()["items"] if answer.json().get("matched") != "similar"]


@asynccontextmanager
async def searching(servers: Servers, *, migrated: bool = True) -> AsyncIterator[Searching]:
    schema = f"searching_{secrets.token_hex(4)}"
    if migrated:
        await migrate("search", servers.stores["search"], schema=schema)
    store = SearchStore(servers.stores["search"], schema)
    await store.open()
    owner = await asyncpg.connect(servers.stores["search"], server_settings={"search_path": f"{schema}, public"})
    stores = Stores(
        PostgresStore("summary", servers.reader_stores["summary"], "summary"),
        PostgresStore("search", servers.reader_stores["search"], schema),
        RedisStore("analytics", servers.reader_stores["analytics"], "analytics_none"),
    )
    app: Any = create_app(stores)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://query") as client:
        yield Searching(schema, store, owner, client)
    await stores.close()
    await store.close()
    await owner.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
    await owner.close(timeout=5)
