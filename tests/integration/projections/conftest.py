"""Two generations of each read store, filled by their own projections with the same story: one as it happens, one from history."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis

from deploy.compare.comparison import Findings
from deploy.compare.stores import GenerationStore, PostgresReadStore, RedisReadStore
from deploy.servers.provide import Servers
from projectors.models.analytics.store import AnalyticsStore
from projectors.models.search.store import SearchStore
from projectors.models.summary.store import SummaryStore
from projectors.stores.migrations import migrate
from projectors.stores.port import Advance, Commit, Store
from projectors.stores.tables import tables_of
from shared.runtime.settings import Settings
from shared.views.generations import generation_name
from tests import payments, practice, shop, users
from tests.integration.projections.playing import Registry, generation


def story() -> list[Advance]:
    """Each stream's whole history: four orders, one of them cancelled, two products, two customers, a practice's, a user."""
    lost = shop.placed("o-2", customer_id="c-2", currency="USD", at=shop.NOON - timedelta(days=1))
    return [
        shop.run("customers/c-1", shop.registered(), shop.renamed()),
        shop.run("customers/c-2", shop.registered("c-2", name="Bo")),
        shop.run("products/p-1", shop.created(), shop.repriced(), shop.updated()),
        shop.run("products/p-2", shop.created("p-2", name="Milk")),
        shop.run("orders/o-1", shop.placed(), shop.paid(), shop.shipped()),
        shop.run("orders/o-2", lost, shop.cancelled(lost)),
        shop.run("orders/o-3", shop.placed("o-3", customer_id="c-2")),
        shop.run("orders/o-4", shop.placed("o-4", at=shop.NOON + timedelta(hours=1))),
        shop.run("payments/y-1", payments.requested(), payments.captured()),
        shop.run("users/u-1", users.created(), users.deactivated()),
        shop.run("bookings/b-1", practice.requested(), practice.confirmed(), practice.completed()),
        shop.run("bookings/b-2", practice.requested("b-2"), practice.cancelled(practice.requested("b-2"))),
        shop.run("doctors/d-1", practice.doctor(), practice.doctor_renamed()),
        shop.run("patients/p-1", practice.patient(), practice.patient_renamed()),
    ]


def event_by_event(advances: Sequence[Advance]) -> list[Advance]:
    """The same events, in steps of one event each: how they come when they are live."""
    return [
        Advance(advance.stream, advance.expected + number, [event])
        for advance in advances
        for number, event in enumerate(advance.events)
    ]


@dataclass
class Pair:
    """Generation 1, which has followed events as they came, generation 2, which was built from history, and a way into both."""

    live: Store
    rebuilt: Store
    store: GenerationStore
    names: tuple[str, str]
    inside: Any

    async def fill(self) -> None:
        for advance in event_by_event(story()):
            await self.live.commit(Commit([advance]))
        await self.rebuilt.commit(Commit(story()))

    async def hurt(self, damage: str, generation: int = 2) -> None:
        """Run SQL inside a generation's schema."""
        await self.inside.execute(f"SET search_path = {self.names[generation - 1]}; {damage}; RESET search_path")

    async def compare(self, sample: int = 5) -> Findings:
        return await self.store.compare(2, 1, sample)


@asynccontextmanager
async def pair_of(servers: Servers, projection: str) -> AsyncIterator[Pair]:
    """Under names of their own: nobody else's data are touched."""
    base = f"compared_{projection}"
    names = (generation_name(base, 1), generation_name(base, 2))
    inside: Any
    async with AsyncExitStack() as stack:
        if projection == "analytics":
            inside = Redis.from_url(servers.stores["analytics"], decode_responses=True, socket_timeout=5)
            stack.push_async_callback(inside.aclose)
            stores: list[Store] = [AnalyticsStore(servers.stores["analytics"], name) for name in names]
            looking: GenerationStore = RedisReadStore(base, inside)
        else:
            url = servers.stores["summary"] if projection == "summary" else servers.stores["search"]
            kind = SummaryStore if projection == "summary" else SearchStore
            inside = await asyncpg.connect(url, timeout=5)
            stack.push_async_callback(inside.close)
            for name in names:
                await migrate(projection, url, schema=name)
            stores = [kind(url, name) for name in names]
            looking = PostgresReadStore(base, inside, tables_of(projection))
        for store in stores:
            await store.open()
            stack.push_async_callback(store.close)
        pair = Pair(stores[0], stores[1], looking, names, inside)
        try:
            await pair.fill()
            yield pair
        finally:
            await _forget(pair)


async def _forget(pair: Pair) -> None:
    for name in pair.names:
        if isinstance(pair.inside, Redis):
            async for key in pair.inside.scan_iter(f"{name}:*", count=1000):
                await pair.inside.unlink(key)
        else:
            await pair.inside.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")


@pytest.fixture(params=["summary", "search", "analytics"])
async def pair(request: pytest.FixtureRequest, servers: Servers) -> AsyncIterator[Pair]:
    async with pair_of(servers, request.param) as found:
        yield found


@pytest.fixture
async def summary(servers: Servers) -> AsyncIterator[Pair]:
    async with pair_of(servers, "summary") as found:
        yield found


@pytest.fixture
async def search(servers: Servers) -> AsyncIterator[Pair]:
    async with pair_of(servers, "search") as found:
        yield found


@pytest.fixture
async def analytics(servers: Servers) -> AsyncIterator[Pair]:
    async with pair_of(servers, "analytics") as found:
        yield found


@pytest.fixture
async def registry(migrated: Settings) -> AsyncIterator[Registry]:
    """Afterwards there is the first generation again, and no other."""
    database = await asyncpg.connect(migrated.store_url("summary"))
    for number in (2, 3):
        await migrate("summary", migrated.store_url("summary"), schema=f"summary_{number}")
    found = Registry(database)
    yield found
    await database.execute("DROP SCHEMA summary_2, summary_3 CASCADE")
    await found.says(generation(1, active=True))
    await database.close()
