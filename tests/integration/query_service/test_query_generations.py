"""Queries are answered from the active generation: all of a request from one, and no error while generations come and go."""

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest
from redis.asyncio import Redis

from deploy.servers.provide import Servers
from projectors.generations.registry import GenerationRegistry
from projectors.models.analytics.generation_registry import AnalyticsRegistry
from projectors.stores.migrations import migrate
from projectors.stores.postgres_registry import PostgresRegistry
from query_service.app import create_app
from query_service.http.requests import Stores
from query_service.stores.postgres_store import PostgresStore
from query_service.stores.redis_store import RedisStore
from shared.read_models import named
from shared.views.analytics import Keys
from shared.views.generations import generation_name, registry_key, registry_schema
from tests.integration.query_service.conftest import NOON, iso

NAMES = {1: "Anna of the first", 2: "Anna of the second"}


class Generations:
    """Two generations of the summary and of the figures, and what a projector does with them."""

    def __init__(
        self, summary: asyncpg.Connection, redis: Redis, prefix: str, *, summary_url: str, redis_url: str
    ) -> None:
        self.summary_url = summary_url
        self.redis_url = redis_url
        self.summary = summary
        self.redis = redis
        self.prefix = prefix
        self.stores: Stores

    @contextlib.asynccontextmanager
    async def registry(self, projection: str) -> AsyncIterator[GenerationRegistry]:
        """As the projector opens it."""
        registry: GenerationRegistry = (
            AnalyticsRegistry(self.redis_url, self.prefix)
            if projection == "analytics"
            else PostgresRegistry(projection, self.summary_url)
        )
        await registry.open()
        try:
            yield registry
        finally:
            await registry.close()

    async def fill(self, number: int) -> None:
        schema = generation_name("summary", number)
        doc = {"customer_id": "c1", "name": NAMES[number], "email": None, "version": 1}
        doc |= {"registered_at": iso(NOON), "updated_at": iso(NOON)}
        statement = f"INSERT INTO {schema}.customers VALUES ('c1', $1, 1, $2)"  # noqa: S608 - a schema of ours
        await self.summary.execute(statement, NAMES[number], json.dumps(doc))
        keys = Keys(generation_name(self.prefix, number))
        await self.redis.sadd(keys.currencies, "EUR")
        await self.redis.zadd(keys.days, {"20260301": 20260301})
        sums: dict[Any, Any] = {f"20260301:{metric}": number for metric in ("orders", "items", "revenue")}
        await self.redis.hset(keys.days_in("EUR"), mapping=sums)

    async def activate(self, number: int) -> None:
        async with self.summary.transaction():
            await self.summary.execute("UPDATE generations SET active = false")
            await self.summary.execute("UPDATE generations SET active = true WHERE number = $1", number)
        row = json.dumps({"number": number, "state": "ready", "epoch": "e1"})
        await self.redis.hset(registry_key(self.prefix), mapping={str(number): row, "active": str(number)})

    async def drop(self, number: int) -> None:
        await self.summary.execute("DELETE FROM generations WHERE number = $1", number)
        await self.summary.execute(f"DROP SCHEMA {generation_name('summary', number)} CASCADE")
        await self.redis.hdel(registry_key(self.prefix), str(number))
        prefix = generation_name(self.prefix, number)
        await self.redis.delete(*[key async for key in self.redis.scan_iter(f"{prefix}:*")])


@pytest.fixture
async def generations(servers: Servers) -> AsyncIterator[Generations]:
    name, prefix = f"generations_{secrets.token_hex(4)}", f"analytics_generations-{secrets.token_hex(4)}"
    owner = await asyncpg.connect(servers.stores["summary"])
    await owner.execute(f"CREATE DATABASE {name}")
    here, reader = (
        urlsplit(url)._replace(path=f"/{name}").geturl()
        for url in (servers.stores["summary"], servers.reader_stores["summary"])
    )
    await migrate("summary", here)
    await migrate("summary", here, schema=generation_name("summary", 2))
    summary = await asyncpg.connect(here, server_settings={"search_path": registry_schema("summary")})
    await summary.execute("INSERT INTO generations (number, state) VALUES (2, 'ready')")
    await summary.execute("UPDATE generations SET kinds = $1", list(named("summary").kinds))
    redis = Redis.from_url(servers.stores["analytics"], decode_responses=True, protocol=2)
    found = Generations(summary, redis, prefix, summary_url=here, redis_url=servers.stores["analytics"])
    for number in (1, 2):
        await found.fill(number)
    found.stores = Stores(
        PostgresStore("summary", reader, "summary"),
        PostgresStore("search", reader, "search"),
        RedisStore("analytics", servers.reader_stores["analytics"], prefix),
    )
    yield found
    await found.stores.close()
    await summary.close()
    await redis.delete(registry_key(prefix), *[key async for key in redis.scan_iter(f"{prefix}*")])
    await redis.aclose()
    await drop(owner, name)
    await owner.close()


async def drop(owner: asyncpg.Connection, name: str) -> None:
    """As soon as the server has noticed that its last session is gone; the owner may not end a reader's."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(asyncpg.ObjectInUseError):
                await owner.execute(f"DROP DATABASE {name}")
                return
            await asyncio.sleep(0.05)


@pytest.fixture
async def asking(generations: Generations) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=create_app(generations.stores))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://query") as client:
        yield client


async def name(client: httpx.AsyncClient) -> str:
    answer = await client.get("/customers/c1")
    assert answer.status_code == 200, answer.text
    return str(answer.json()["name"])


async def revenue(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.get("/analytics/revenue")
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["total"])


def total(number: int) -> dict[str, int]:
    return {"orders": number, "items": number, "revenue": number, "cancelled": 0}


async def test_what_is_activated_is_read_within_a_second_and_so_is_what_is_gone_back_to(
    generations: Generations, asking: httpx.AsyncClient
) -> None:
    assert (await name(asking), await revenue(asking)) == (NAMES[1], total(1))
    tags = [(await asking.get("/customers/c1")).headers["etag"]]
    for number in (2, 1):
        await generations.activate(number)
        async with asyncio.timeout(1.5):
            while (await name(asking), await revenue(asking)) != (NAMES[number], total(number)):
                continue
        tags.append((await asking.get("/customers/c1")).headers["etag"])
    assert tags[0] == tags[2] != tags[1]


async def test_a_registry_that_is_missing_means_the_first_generation(
    generations: Generations, asking: httpx.AsyncClient
) -> None:
    await generations.summary.execute("DROP SCHEMA summary_registry CASCADE")
    assert (await name(asking), await revenue(asking)) == (NAMES[1], total(1))


async def test_a_generation_that_is_dropped_under_a_request_costs_no_error(
    generations: Generations, asking: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await name(asking) == NAMES[1]
    fetch = PostgresStore.fetch

    async def too_late(store: PostgresStore, statement: str, *arguments: object) -> Any:
        if "FROM customers" in statement and store.number == 1:
            await generations.activate(2)
            await generations.drop(1)
        return await fetch(store, statement, *arguments)

    monkeypatch.setattr(PostgresStore, "fetch", too_late)
    assert await name(asking) == NAMES[2]


async def test_figures_are_never_read_from_keys_that_are_being_dropped(
    generations: Generations, asking: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await revenue(asking) == total(1)
    ask = RedisStore.ask

    async def too_late(store: RedisStore, *commands: Any) -> Any:
        if commands[0][0] == "HMGET" and store.number == 1:
            await generations.activate(2)
            await generations.drop(1)
        return await ask(store, *commands)

    monkeypatch.setattr(RedisStore, "ask", too_late)
    assert await revenue(asking) == total(2)


@pytest.mark.parametrize("projection", ["summary", "analytics"])
async def test_freshness_says_that_a_projection_is_stopped_and_what_it_waits_for(
    generations: Generations, asking: httpx.AsyncClient, projection: str
) -> None:
    async def found() -> tuple[str, dict[str, Any] | None]:
        generations.stores.of(projection).forget()
        projections = (await asking.get("/freshness")).json()["projections"]
        (one,) = [one for one in projections if one["projection"] == projection]
        return one["epoch"], one["stopped"]

    async with generations.registry(projection) as registry:
        await registry.record_epoch(1, "e-1")
        assert await found() == ("e-1", None)
        await registry.record_epoch(1, "e-2")
        epoch, stopped = await found()
        assert stopped is not None
        assert (epoch, stopped["waits_for"], stopped["epoch"], stopped["ahead"]) == ("e-1", "comparison", "e-2", 0)
        await registry.compared(1, "e-2", "", "", True, ["orders/o-1 at 3, not 2"])
        epoch, stopped = await found()
        assert stopped is not None
        assert (epoch, stopped["waits_for"], stopped["ahead"]) == ("e-1", "operator", 1)
        assert stopped["examples"] == ["orders/o-1 at 3, not 2"]
        assert f"tidemark projections adopt-epoch {projection}" in stopped["detail"]
        await registry.adopt(1)
        assert await found() == ("e-2", None)


async def test_under_load_every_answer_is_of_one_generation_and_none_is_an_error(
    generations: Generations, asking: httpx.AsyncClient
) -> None:
    async def ask_five_times() -> set[str]:
        names = set()
        for _ in range(5):
            names.add(await name(asking))
            assert await revenue(asking) in (total(1), total(2))
        return names

    for before, number in ((1, 2), (2, 1), (1, 2)):
        asked = [asyncio.create_task(ask_five_times()) for _ in range(8)]
        await generations.activate(number)
        generations.stores.postgres("summary").forget()
        generations.stores.redis("analytics").forget()
        assert await name(asking) == NAMES[number]
        seen = set().union(*await asyncio.gather(*asked))
        assert seen <= {NAMES[before], NAMES[number]}


async def test_a_generation_that_was_built_without_a_kind_says_so_until_another_one_is_active(
    generations: Generations, asking: httpx.AsyncClient
) -> None:
    async def said(projection: str) -> Any:
        generations.stores.of(projection).forget()
        found = (await asking.get("/freshness")).json()["projections"]
        return next(one["incomplete"] for one in found if one["projection"] == projection)

    assert await said("summary") is None
    others = [kind for kind in named("summary").kinds if kind != "customers"]
    await generations.summary.execute("UPDATE generations SET kinds = $1 WHERE number = 1", others)
    row = json.dumps({"number": 1, "kinds": ["orders"]})
    await generations.redis.hset(registry_key(generations.prefix), mapping={"1": row, "active": "1"})
    detail = "does not have {0} yet: run tidemark projections rebuild {1}, then tidemark projections activate {1}"
    assert await said("summary") == {"kinds": ["customers"], "detail": detail.format("customers", "summary")}
    assert await said("analytics") == {"kinds": ["products"], "detail": detail.format("products", "analytics")}
    ready = await asking.get("/health/ready")
    assert ready.status_code == 503
    for projection, kind in (("summary", "customers"), ("analytics", "products")):
        assert f"{projection}: {detail.format(kind, projection)}" in ready.json()["detail"]
    await generations.activate(2)
    assert (await said("summary"), await said("analytics")) == (None, None)
