"""Reading one's own writes in all three stores, woken by news over a real broker."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
import httpx
import pytest
from redis.asyncio import Redis

from deploy.servers.provide import Servers
from query_service.app import create_app
from query_service.consistency import waiting as waiting_module
from query_service.http.requests import Stores
from query_service.live.change_listener import ChangeListener
from query_service.stores.operations_store import OperationsStore
from query_service.stores.port import DEADLINE_S
from query_service.stores.postgres_store import PostgresStore
from query_service.stores.redis_store import RedisStore
from shared.messages.changes import ADVANCED, Advanced
from shared.messages.changes import AdvancedMessage as Envelope
from shared.messages.envelope import CONTENT_TYPE
from shared.messaging import topology
from shared.messaging.broker import Outgoing, Publisher
from shared.observability.families import REGISTRY
from shared.runtime.settings import Settings
from shared.views.analytics import Keys
from tests.integration.query_service.conftest import Shop
from tests.proxy import Proxy

LETTER: Final = 17
PATHS: Final = {"summary": "/orders", "search": "/search/products?q=milk", "analytics": "/analytics/revenue"}

Apply = Callable[[str, str, int], Coroutine[Any, Any, None]]
"""Store, stream, version: as a projector's commit would."""
Ask = Callable[..., Coroutine[Any, Any, httpx.Response]]


class Letters(OperationsStore):
    """An operations database with one letter in it."""

    def __init__(self) -> None:
        super().__init__("")

    async def holding(self, origin: str, stream: str, version: int) -> int | None:
        return LETTER if (origin, stream, version) == ("summary", "orders/poisoned", 2) else None


@pytest.fixture
def apply(shop: Shop, analytics_keys: tuple[Redis, Keys]) -> Apply:
    async def applied(store: str, stream: str, version: int) -> None:
        if store == "analytics":
            redis, keys = analytics_keys
            await redis.hset(keys.positions, stream, str(version))
            return
        connection: asyncpg.Connection = getattr(shop, store)
        await connection.execute(
            "INSERT INTO positions VALUES ($1, $2) ON CONFLICT (stream) DO UPDATE SET applied = $2", stream, version
        )

    return applied


@pytest.fixture
async def stores(
    servers: Servers, query_urls: tuple[str, str], shop: Shop, analytics_keys: tuple[Redis, Keys]
) -> AsyncIterator[Stores]:
    stores = Stores(
        PostgresStore("summary", query_urls[1], "summary"),
        PostgresStore("search", query_urls[1], "search"),
        RedisStore("analytics", servers.reader_stores["analytics"], analytics_keys[1].prefix),
        operations=Letters(),
    )
    yield stores
    await stores.close()


@pytest.fixture
async def ask(stores: Stores) -> AsyncIterator[Ask]:
    transport = httpx.ASGITransport(app=create_app(stores, longest_wait_s=20))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://query") as client:

        async def asked(path: str, tokens: str, wait: int | None = None) -> httpx.Response:
            headers = {"Tidemark-Consistency": tokens}
            if wait is not None:
                headers["Prefer"] = f"respond-async, wait={wait}"
            return await client.get(path, headers=headers)

        yield asked


@pytest.fixture
async def tell(migrated: Settings) -> AsyncIterator[Callable[[Advanced], Awaitable[None]]]:
    publisher = Publisher(migrated.rabbitmq_url, "tests")

    async def told(news: Advanced) -> None:
        envelope = Envelope(id="n", source="tests", type=ADVANCED, time=datetime.now(UTC), data=news)
        body = envelope.model_dump_json().encode()
        key = topology.advanced_key(news.projection)
        await publisher.publish(Outgoing(topology.CHANGES, key, body, CONTENT_TYPE, mandatory=False, durable=False))

    yield told
    await publisher.close()


@asynccontextmanager
async def listening(url: str, stores: Stores) -> AsyncIterator[ChangeListener]:
    news = ChangeListener(url, stores)
    running = asyncio.create_task(news.run())
    try:
        yield news
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while True:
            if holds():
                return
            await asyncio.sleep(0.01)


@pytest.fixture
def no_backstop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it can only be the news."""
    monkeypatch.setattr(waiting_module, "BACKSTOP_S", 3600.0)


@pytest.mark.parametrize("store", PATHS)
async def test_a_write_that_is_there_is_read_and_one_that_is_not_is_412_at_once(
    ask: Ask, apply: Apply, store: str
) -> None:
    stream = f"orders/there-{store}"
    await apply(store, stream, 3)
    answer = await ask(PATHS[store], f"{stream}@2", wait=5)
    assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait=5")
    answer = await ask(PATHS[store], f"{stream}@2, {stream}@4")
    assert (answer.status_code, answer.headers["content-type"]) == (412, "application/problem+json")
    problem = answer.json()
    assert (problem["code"], problem["projection"], problem["generation"]) == ("consistency-not-met", store, 1)
    assert (problem["stream"], problem["required"], problem["applied"]) == (stream, 4, 3)
    if store != "analytics":
        assert problem["lag_seconds"] > 0
        assert answer.headers["tidemark-as-of"] == "2026-03-09T09:30:00.250000Z"
    assert "preference-applied" not in answer.headers


@pytest.mark.usefixtures("no_backstop")
@pytest.mark.parametrize("store", PATHS)
async def test_who_waits_is_woken_by_the_news(
    migrated: Settings, stores: Stores, ask: Ask, apply: Apply, tell: Callable[[Advanced], Awaitable[None]], store: str
) -> None:
    stream = f"orders/told-{store}"
    async with listening(migrated.rabbitmq_url, stores) as news:
        await until(lambda: news.connected)
        waits = asyncio.create_task(ask(PATHS[store], f"{stream}@1", wait=15))
        await until(lambda: stores.waiting[store].streams == 1)
        await asyncio.sleep(0.05)
        assert not waits.done()
        await apply(store, stream, 1)
        await tell(Advanced(projection=store, streams=((stream, 1),)))
        async with asyncio.timeout(5):
            assert (await waits).status_code == 200


@pytest.mark.usefixtures("no_backstop")
async def test_news_that_were_lost_with_the_connection_are_made_up_for_when_it_is_back(
    migrated: Settings, stores: Stores, ask: Ask, apply: Apply
) -> None:
    async with Proxy(migrated.rabbitmq_url).running() as proxy, listening(proxy.url, stores) as news:
        await until(lambda: news.connected)
        waits = asyncio.create_task(ask("/orders", "orders/lost@1", wait=15))
        await until(lambda: stores.waiting["summary"].streams == 1)
        await asyncio.sleep(0.05)
        await apply("summary", "orders/lost", 1)
        proxy.cut()
        async with asyncio.timeout(10):
            assert (await waits).status_code == 200


async def test_without_any_news_the_backstop_finds_it(ask: Ask, apply: Apply, stores: Stores) -> None:
    waits = asyncio.create_task(ask("/orders", "orders/slow@1", wait=10))
    await until(lambda: stores.waiting["summary"].streams == 1)
    await apply("summary", "orders/slow", 1)
    async with asyncio.timeout(3):
        assert (await waits).status_code == 200


async def test_what_does_not_come_in_time_is_412_at_the_deadline(ask: Ask) -> None:
    began = time.monotonic()
    answer = await ask("/orders/o01", "orders/never@1", wait=1)
    assert 1.0 <= time.monotonic() - began < 3.0
    assert (answer.status_code, answer.json()["applied"]) == (412, 0)
    assert answer.headers["preference-applied"] == "wait=1"


async def test_a_dead_letter_is_named_at_once_however_long_one_would_wait(ask: Ask, apply: Apply, shop: Shop) -> None:
    await apply("summary", "orders/poisoned", 1)
    await shop.summary.execute(
        "INSERT INTO held VALUES ('orders/poisoned', 'dead', 2, 3, 4, 'projection-failed', 'x', 'f', now(), now(), NULL)"
    )
    try:
        async with asyncio.timeout(5):
            answer = await ask("/orders", "orders/poisoned@3", wait=20)
        problem = answer.json()
        assert (answer.status_code, problem["code"], problem["held"]) == (412, "stream-held", "dead")
        assert (problem["reason"], problem["letter_id"]) == ("projection-failed", LETTER)
        assert problem["letter"] == f"/dead-letters/{LETTER}"
        assert (await ask("/orders", "orders/poisoned@1", wait=20)).status_code == 200
    finally:
        await shop.summary.execute("DELETE FROM held WHERE stream = 'orders/poisoned'")


def refusals(projection: str, result: str) -> float:
    """How many waits the metrics count that ended so."""
    labels = {"projection": projection, "result": result}
    return REGISTRY.get_sample_value("tidemark_own_write_waits_total", labels) or 0.0


async def test_a_write_of_another_epoch_is_412_at_once_where_the_generation_knows_its_own(
    stores: Stores, ask: Ask, apply: Apply, analytics_keys: tuple[Redis, Keys]
) -> None:
    redis, keys = analytics_keys
    await apply("analytics", "orders/epoch", 1)
    assert (await ask(PATHS["analytics"], "orders/epoch@1;epoch=new", wait=5)).status_code == 200
    registry = f"{keys.prefix}-registry"
    await redis.hset(registry, mapping={"active": "1", "1": json.dumps({"number": 1, "epoch": "old"})})
    try:
        stores.redis("analytics").forget()
        assert (await ask(PATHS["analytics"], "orders/epoch@1;epoch=old", wait=5)).status_code == 200
        before = refusals("analytics", "epoch-changed")
        answer = await ask(PATHS["analytics"], "orders/epoch@1;epoch=new", wait=5)
        assert (answer.status_code, answer.json()["code"], answer.json()["epoch"]) == (412, "epoch-changed", "old")
        assert refusals("analytics", "epoch-changed") == before + 1
    finally:
        await redis.delete(registry)


async def test_a_write_to_a_kind_that_the_projection_does_not_read_is_not_waited_for(ask: Ask) -> None:
    for token in ("customers/never@3", "customers/never@3;epoch=another"):
        answer = await ask(PATHS["analytics"], token, wait=5)
        assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait=5")
    answer = await ask(PATHS["analytics"], "customers/never@3, orders/never@1")
    assert (answer.status_code, answer.json()["stream"]) == (412, "orders/never")
    assert (await ask(PATHS["summary"], "customers/never@3")).status_code == 412
    assert (await ask(PATHS["analytics"], "clinics/nobody-knows@1")).status_code == 412


async def test_a_write_to_a_kind_that_the_generation_was_built_without_is_412_at_once_and_says_why(
    stores: Stores, ask: Ask, analytics_keys: tuple[Redis, Keys]
) -> None:
    redis, keys = analytics_keys
    registry = f"{keys.prefix}-registry"
    await redis.hset(registry, mapping={"active": "1", "1": json.dumps({"number": 1, "kinds": ["orders"]})})
    try:
        stores.redis("analytics").forget()
        async with asyncio.timeout(5):
            answer = await ask(PATHS["analytics"], "products/never@1", wait=20)
        assert (answer.status_code, answer.json()["code"]) == (412, "consistency-not-met")
        assert "it does not have products yet: run tidemark projections rebuild analytics" in answer.json()["detail"]
        assert (await ask(PATHS["analytics"], "customers/never@1", wait=20)).status_code == 200
    finally:
        await redis.delete(registry)


@pytest.mark.parametrize("tokens", ["orders/a", "orders/a@x", "a@1", "orders/a@1;x=y", "orders/%FF@1"])
async def test_a_malformed_token_is_400(ask: Ask, tokens: str) -> None:
    answer = await ask("/orders", tokens)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "Tidemark-Consistency")


async def test_every_route_that_reads_a_projection_takes_tokens(ask: Ask) -> None:
    for path in (
        *("/orders/o01", "/orders", "/orders/o01/history", "/customers/c1", "/customers/c1/orders", "/products/milk"),
        *("/products", "/products/milk/price-history", "/analytics/revenue?currency=USD", "/analytics/top-products"),
        *("/analytics/customers", "/search/products?q=milk", "/search/orders?q=milk"),
    ):
        assert (await ask(path, "orders/never@1")).status_code == 412, path


async def test_a_store_that_is_away_is_503_also_for_those_who_would_wait(stores: Stores, ask: Ask) -> None:
    gone: Any = PostgresStore("summary", "postgresql://nobody@127.0.0.1:1/none", "summary")
    away = Stores(gone, gone, await stores.redis("analytics").store())
    transport = httpx.ASGITransport(app=create_app(away))  # type: ignore[arg-type]
    headers = {"Tidemark-Consistency": "orders/a@1", "Prefer": "wait=9"}
    async with httpx.AsyncClient(transport=transport, base_url="http://query") as client, asyncio.timeout(DEADLINE_S):
        answer = await client.get("/orders", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (503, "store-unavailable")
