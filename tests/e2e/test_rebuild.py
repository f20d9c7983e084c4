"""A projection is rebuilt beside the live one, with orders coming in, and switched over, back, and dropped."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from redis.asyncio import Redis
from rich.console import Console

from deploy.demo.display import Display
from deploy.demo.system import settings_for
from deploy.verify.command import verify
from deploy.verify.options import Options
from deploy.verify.report import show
from projectors.stores.port import HoldStatus
from projectors.stores.projection import projection_of
from projectors.stores.tables import tables_of
from shared.messages.control import Activate, Drop, Rebuild, Rollback
from shared.read_models import named
from shared.views.analytics import Keys
from shared.views.generations import generation_name
from tests.e2e.generations import done, refused, registry_of, until_ready
from tests.e2e.system import System

pytestmark = pytest.mark.timeout(120)

QUICK = Options(recheck_interval_s=0.05, stalled_s=0.2, max_wait_s=5)
QUIET = Display(Console(quiet=True), None)
WHO = {"actor": "a test", "reason": "to see it"}

HELD = "SELECT stream, version FROM held WHERE status <> 'gap' ORDER BY stream"
"""Other tests have left poison behind. It holds the same streams at the same versions in both; when, and how often it failed, differs."""


async def place(system: System, order_id: str, customer_id: str) -> None:
    line = {"product_id": "p-rebuilt", "quantity": 1, "amount": 10}
    order = {"order_id": order_id, "customer_id": customer_id, "currency": "EUR", "lines": [line]}
    await system.bus.accepted("orders.place-order", order | {"placed_at": "2012-05-04T12:00:00Z"})


class Trickle:
    """Orders that keep coming, and are paid."""

    def __init__(self, system: System) -> None:
        self.customer = f"trickle-{uuid4().hex}"
        self.placed = 0
        self._placed = asyncio.Condition()
        self._system = system

    async def places(self, count: int) -> None:
        """Return when so many more have been placed."""
        upto = self.placed + count
        async with asyncio.timeout(15), self._placed:
            await self._placed.wait_for(lambda: self.placed >= upto)

    async def run(self) -> None:
        while True:
            await place(self._system, f"{self.customer}-{self.placed}", self.customer)
            self.placed += 1
            async with self._placed:
                self._placed.notify_all()
            await self._system.bus.accepted(
                "orders.pay-order", {"amount": 10}, subject=f"{self.customer}-{self.placed - 1}"
            )


@asynccontextmanager
async def trickling(system: System) -> AsyncIterator[Trickle]:
    trickle = Trickle(system)
    running = asyncio.create_task(trickle.run())
    try:
        yield trickle
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def rows(system: System, generation: int) -> dict[str, list[Any]]:
    schema = generation_name("summary", generation)
    connection = await asyncpg.connect(system.servers.stores["summary"], server_settings={"search_path": schema})
    try:
        found = {
            table: await connection.fetch(f"SELECT to_jsonb(row) AS row FROM {table} AS row ORDER BY 1")  # noqa: S608
            for table in (*(each.name for each in tables_of("summary")), "positions")
        }
        return found | {"held": await connection.fetch(HELD)}
    finally:
        await connection.close()


async def figures(system: System, generation: int) -> dict[str, Any]:
    """Without counters at zero: what was placed and cancelled leaves one behind, unless both came in one batch."""
    prefix = generation_name("analytics", generation)
    found: dict[str, Any] = {}
    async with Redis.from_url(system.servers.stores["analytics"], decode_responses=True) as redis:
        async for key in redis.scan_iter(f"{prefix}:*"):
            name = key.removeprefix(prefix)
            kind: Any = await redis.type(key)
            layout = Keys(prefix)
            if key == layout.held:
                holds = {stream: json.loads(hold) for stream, hold in (await redis.hgetall(key)).items()}
                found[name] = {stream: hold["version"] for stream, hold in holds.items() if hold["status"] != "gap"}
            elif key not in (layout.progress, layout.names, layout.line_names, layout.due):
                read = {"hash": redis.hgetall, "set": redis.smembers}.get(kind)
                values = await read(key) if read else None
                if isinstance(values, dict):
                    values = {member: value for member, value in values.items() if value != "0"}
                found[name] = values if read else sorted(await redis.zrange(key, 0, -1, withscores=True))
    return found


async def until_equal(read: Any, system: System) -> None:
    first: dict[str, Any] = {}
    second: dict[str, Any] = {}
    try:
        async with asyncio.timeout(15):
            while True:
                first, second = await read(system, 1), await read(system, 2)
                if first == second:
                    return
                await asyncio.sleep(0.1)
    except TimeoutError:
        differing = {name for name in {**first, **second} if first.get(name) != second.get(name)}
        pytest.fail(f"they differ: { {name: (first.get(name), second.get(name)) for name in differing} }"[:3000])


@pytest.mark.parametrize("projection", ["summary", "analytics"])
async def test_a_projection_is_rebuilt_while_orders_come_in_and_switched_over_and_back_and_dropped(
    system: System, projection: str
) -> None:
    bus = system.bus
    async with trickling(system) as trickle:
        known = await done(bus, Rebuild(projection=projection, generation=2, **WHO), id_=f"rebuild-{projection}")
        assert [(each.number, each.active) for each in known] == [(1, True), (2, False)]
        assert await refused(bus, Rebuild(projection=projection, generation=2, **WHO)) == "generation-exists"
        ready = await until_ready(system.servers, projection, 2)
        assert ready.scanned >= (ready.total or 1) > 0
        activated = await done(bus, Activate(projection=projection, generation=2, **WHO))
        assert [(each.number, each.active) for each in activated] == [(1, False), (2, True)]
        assert await refused(bus, Drop(projection=projection, generation=2, **WHO)) == "generation-is-active"
        await trickle.places(10)
        back = await done(bus, Rollback(projection=projection, **WHO), id_=f"back-{projection}")
        assert [(each.number, each.active) for each in back] == [(1, True), (2, False)]
        again = await done(bus, Rollback(projection=projection, **WHO), id_=f"back-{projection}")
        assert [(each.number, each.active) for each in again] == [(1, True), (2, False)]
    await until_equal(rows if projection == "summary" else figures, system)
    store = projection_of(projection).store(settings_for(system.servers), 2)
    assert (await store.held_by_status())[HoldStatus.GAP] == 0
    await store.close()
    left = await done(bus, Drop(projection=projection, generation=2, **WHO))
    assert [(each.number, each.active) for each in left] == [(1, True)]
    assert await refused(bus, Activate(projection=projection, generation=2, **WHO)) == "generation-not-found"
    if projection == "analytics":
        assert await figures(system, 2) == {}
    await place(system, f"{trickle.customer}-after", trickle.customer)
    await system.visible(f"/orders/{trickle.customer}-after")


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(15):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.1)


async def applied(system: System, projection: str, stream: str, *, generation: int = 1) -> int:
    store = projection_of(projection).store(settings_for(system.servers), generation)
    try:
        return (await store.positions([stream]))[stream].applied
    finally:
        await store.close()


async def register(system: System, customer: str) -> str:
    """The stream, which the summary has applied."""
    await system.bus.accepted("customers.register-customer", {"customer_id": customer, "name": "Ada"})
    await system.visible(f"/customers/{customer}")
    return f"customers/{customer}"


async def test_analytics_keeps_nothing_of_a_kind_that_it_does_not_read_and_is_current_all_the_same(
    system: System,
) -> None:
    customer, order, registered_at = f"c-{uuid4().hex}", f"o-{uuid4().hex}", datetime.now(UTC).isoformat()
    stream = await register(system, customer)
    await place(system, order, customer)
    headers = {"Tidemark-Consistency": f"orders/{order}@1, {stream}@1", "Prefer": "wait=10"}
    answer = await system.queries.get("/analytics/customers", headers=headers)
    assert answer.status_code == 200
    async with Redis.from_url(system.servers.stores["analytics"], decode_responses=True) as redis:
        for key in (Keys().positions, Keys().held):
            assert not [name for name in await redis.hkeys(key) if str(name).startswith("customers/")]

    async def is_current() -> bool:
        found = (await system.get("/freshness"))["projections"]
        (analytics,) = [one for one in found if one["projection"] == "analytics"]
        return bool(analytics["as_of"] and analytics["as_of"] > registered_at and analytics["status"] == "current")

    await until(is_current)


async def test_a_kind_that_is_added_is_missing_until_a_rebuilt_generation_is_active_and_it_says_so(
    system: System,
) -> None:
    """The search has read customers all along; here it is told that it has not."""
    bus, every = system.bus, named("search").kinds
    others = tuple(kind for kind in every if kind != "customers")

    async def incomplete() -> Any:
        found = (await system.get("/freshness"))["projections"]
        return next(one["incomplete"] for one in found if one["projection"] == "search")

    async def says_so() -> bool:
        """The projector too."""
        processes = (await system.get("/freshness"))["processes"]
        return any(each["troubles"].get("kinds") for each in processes if each["process"] == "search")

    async def freshness_says_so() -> bool:
        return await incomplete() is not None

    async with registry_of(system.servers, "search") as registry:
        assert await registry.note_kinds(1, every, others)
        try:
            await until(says_so)
            await until(freshness_says_so)
            assert (await incomplete())["kinds"] == ["customers"]
            ready = await system.queries.get("/health/ready")
            assert ready.status_code == 503
            assert "search: does not have customers yet: run tidemark projections rebuild search" in ready.text
            stream = await register(system, f"c-{uuid4().hex}")
            order = f"o-{uuid4().hex}"
            await place(system, order, stream.partition("/")[2])
            headers = {"Tidemark-Consistency": f"orders/{order}@1", "Prefer": "wait=10"}
            assert (await system.queries.get("/search/orders?q=x", headers=headers)).status_code == 200
            unmet = await system.queries.get("/search/orders?q=x", headers={"Tidemark-Consistency": f"{stream}@1"})
            assert unmet.status_code == 412
            assert "does not have customers yet" in unmet.text
            assert await applied(system, "search", stream) == 0
            report = await verify(settings_for(system.servers), QUICK, QUIET, projections=("search",))
            shown = Console(record=True, file=io.StringIO(), width=300)
            show(report, shown)
            text = shown.export_text()
            assert "search, missing: it does not have customers yet: run tidemark projections rebuild search" in text
            assert "--heal" not in text
            await done(bus, Rebuild(projection="search", generation=2, **WHO))
            await until_ready(system.servers, "search", 2)
            assert await applied(system, "search", stream, generation=2) == 1
            await done(bus, Activate(projection="search", generation=2, **WHO))
            headers = {"Tidemark-Consistency": f"{stream}@1", "Prefer": "wait=10"}
            assert (await system.queries.get("/search/orders?q=x", headers=headers)).status_code == 200
            assert await incomplete() is None
            await done(bus, Rollback(projection="search", **WHO))
            await done(bus, Drop(projection="search", generation=2, **WHO))
        finally:
            assert await registry.note_kinds(1, others, every)

    async def all_is_well() -> bool:
        return not await says_so() and await incomplete() is None

    await until(all_is_well)
    await bus.accepted("customers.rename-customer", {"name": "Ada L."}, subject=stream.partition("/")[2])

    async def healed() -> bool:
        return await applied(system, "search", stream) == 2

    await until(healed)
