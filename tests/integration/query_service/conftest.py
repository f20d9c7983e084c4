"""The query service over real stores: a database and a Redis prefix of its own, with a small shop in them."""

import json
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest
from redis.asyncio import Redis

from deploy.servers.provide import Servers
from projectors.stores.migrations import migrate
from query_service.app import create_app
from query_service.http.requests import Stores
from query_service.stores.postgres_store import PostgresStore
from query_service.stores.redis_store import RedisStore
from shared.views.analytics import Keys
from shared.views.search_text import Weight, vector
from tests.integration.databases import drop_database, note_kinds
from tests.openapi import checked

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HEARD = datetime(2026, 3, 9, 9, 30, 0, 250_000, tzinfo=UTC)


class Shop:
    """Writes what projectors would have written."""

    def __init__(self, summary: asyncpg.Connection, search: asyncpg.Connection) -> None:
        self.summary = summary
        self.search = search

    async def customer(self, customer_id: str, name: str, version: int = 1) -> None:
        doc = {"customer_id": customer_id, "name": name, "email": None, "version": version}
        await self.summary.execute(
            "INSERT INTO customers VALUES ($1, $2, $3, $4)"
            " ON CONFLICT (customer_id) DO UPDATE SET name = $2, version = $3, doc = $4",
            customer_id,
            name,
            version,
            json.dumps(doc | {"registered_at": iso(NOON), "updated_at": iso(NOON)}),
        )
        await self.search.execute(
            "INSERT INTO customers (customer_id, name, version, terms) VALUES ($1, $2, 1, $3::text::tsvector)"
            " ON CONFLICT DO NOTHING",
            *(customer_id, name, vector((name, "D"))),
        )

    async def product(
        self, product_id: str, name: str, category: str, price: int, version: int = 1, **more: Any
    ) -> None:
        doc = {"product_id": product_id, "name": name, "category": category, "price": price, "currency": "USD"}
        doc |= {
            "description": None,
            "brand": None,
            "variants": [],
            "stock": 0,
            "rating_average": None,
            "review_count": 0,
        }
        doc |= {"updated_at": iso(NOON), "version": version, **more}
        await self.summary.execute(
            "INSERT INTO products VALUES ($1, $2, $3, $4, $5)"
            " ON CONFLICT (product_id) DO UPDATE SET name = $2, version = $4, doc = $5",
            product_id,
            name,
            category,
            version,
            json.dumps(doc),
        )
        await self.search.execute(
            "INSERT INTO products (product_id, name, description, category, brand, price, currency, version, terms)"
            " VALUES ($1, $2, $3, $4, $5, $6, 'USD', 1, $7::text::tsvector) ON CONFLICT DO NOTHING",
            *(product_id, name, doc["description"], category, doc["brand"], price),
            vector((name, "A"), (more.get("brand"), "B"), (category, "B"), (more.get("description"), "C")),
        )

    async def order(
        self, order_id: str, customer_id: str, at: datetime, lines: list[dict[str, Any]], status: str = "placed"
    ) -> None:
        count, total = sum(line["quantity"] for line in lines), sum(line["amount"] for line in lines)
        facts: tuple[Any, ...] = (order_id, customer_id, status, "USD", count, total, at)
        doc: dict[str, Any] = {"order_id": order_id, "customer_id": customer_id, "status": status, "currency": "USD"}
        doc |= {"item_count": count, "total": total, "lines": lines, "version": 1}
        doc |= {"placed_at": iso(at), "updated_at": iso(at)}
        await self.summary.execute(
            "INSERT INTO orders VALUES ($1, $2, $3, $4, $5, $6, $7, $7, 1, $8)", *facts, json.dumps(doc)
        )
        await self.summary.execute(
            "INSERT INTO history VALUES ($1, 1, 'order.placed', $2, $3)", f"orders/{order_id}", at, json.dumps(doc)
        )
        unnamed = [line["product_id"] for line in lines if not line.get("name")]
        named: list[tuple[str | None, Weight]] = [(line["name"], "B") for line in lines if line.get("name")]
        await self.search.execute(
            "INSERT INTO orders (order_id, customer_id, status, currency, item_count, total, placed_at, version, unnamed,"
            " terms) VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8, $9::text::tsvector)",
            *(*facts, unnamed, vector((order_id, "A"), (customer_id, "C"), *named)),
        )


def iso(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def line(product_id: str, name: str | None, quantity: int = 1, amount: int = 100) -> dict[str, Any]:
    return {"product_id": product_id, "name": name, "quantity": quantity, "amount": amount}


@pytest.fixture(scope="session")
async def query_urls(servers: Servers) -> AsyncIterator[tuple[str, str]]:
    """A database with both schemas: its URL for the owner and for the reader."""
    name = f"query_{secrets.token_hex(4)}"
    owner = await asyncpg.connect(servers.stores["summary"])
    await owner.execute(f"CREATE DATABASE {name}")
    here, reader = (urlsplit(url)._replace(path=f"/{name}").geturl() for url in _owner_and_reader(servers))
    for schema in ("summary", "search", "telemetry"):
        await migrate(schema, here)
        await note_kinds(schema, here)
    yield here, reader
    await drop_database(owner, name)
    await owner.close()


def _owner_and_reader(servers: Servers) -> tuple[str, str]:
    return servers.stores["summary"], servers.reader_stores["summary"]


@pytest.fixture(scope="session")
async def shop(query_urls: tuple[str, str]) -> AsyncIterator[Shop]:
    """A dairy with four customers and forty orders, one every six hours."""
    url, _ = query_urls
    summary = await asyncpg.connect(url, server_settings={"search_path": "summary, public"})
    search = await asyncpg.connect(url, server_settings={"search_path": "search, public"})
    shop = Shop(summary, search)
    for place, name in enumerate(("Anna Smith", "Bert Jones", "Cleo Müller")):
        await shop.customer(f"c{place}", name)
    await shop.product("milk", "Whole milk", "DAIRY", 199, brand="National", description="from happy cows")
    await shop.product("skimmed", "Skimmed milk", "DAIRY", 149, brand="Private")
    await shop.product("choc", "Chocolate cookies", "BAKERY", 299, brand="National")
    await shop.product("bread", "Sourdough bread", "BAKERY", 450)
    for version, price in ((1, 199), (4, 189), (9, 209)):
        await summary.execute("INSERT INTO price_history VALUES ('milk', $1, $2, 'USD', $3)", version, price, NOON)
    for number in range(40):
        lines = [line("milk", "Whole milk" if number % 2 else None, 2, 398), line("bread", "Sourdough bread", 1, 450)]
        status = ("placed", "paid", "cancelled")[number % 3]
        await shop.order(f"o{number:02}", f"c{number % 4}", NOON + timedelta(hours=6 * number), lines, status)
    for connection in (summary, search):
        await connection.execute(
            "INSERT INTO progress VALUES (0, $1, 30, now()), (1, $2, 12, now())", HEARD, datetime.now(UTC)
        )
    yield shop
    await summary.close()
    await search.close()


@pytest.fixture(scope="session")
async def analytics_keys(servers: Servers) -> AsyncIterator[tuple[Redis, Keys]]:
    """A writer to Redis, and keys that are ours alone; gone at the end."""
    redis = Redis.from_url(servers.stores["analytics"], decode_responses=True, protocol=2)
    keys = Keys(f"analytics_query-{secrets.token_hex(4)}")
    yield redis, keys
    if found := [key async for key in redis.scan_iter(f"{keys.prefix}:*")]:
        await redis.delete(*found)
    await redis.aclose()


@pytest.fixture(scope="session")
async def client(
    servers: Servers, query_urls: tuple[str, str], shop: Shop, analytics_keys: tuple[Redis, Keys]
) -> AsyncIterator[httpx.AsyncClient]:
    """The application as a reader of these stores."""
    _, reader = query_urls
    stores = Stores(
        PostgresStore("summary", reader, "summary"),
        PostgresStore("search", reader, "search"),
        PostgresStore("telemetry", reader, "telemetry"),
        RedisStore("analytics", servers.reader_stores["analytics"], analytics_keys[1].prefix),
    )
    app = create_app(stores)
    transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://query", event_hooks=checked(app)) as client:
        yield client
    await stores.close()
