"""Databases that older code has written (commit 88e7620) are migrated, and everything goes on from them.

``data_of_older_code`` has what that code's own deployables left: 34 commands' streams, two orders whose first event the summary could not
apply (held, with a dead letter each), a second generation of search that is ready, and one of analytics that is active. The databases are
as ``pg_dump --no-owner`` prints them, Redis as type and value of each key.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from rich.console import Console

from deploy.demo.display import Display
from deploy.demo.system import settings_for
from deploy.servers import programs
from deploy.servers.provide import Servers
from deploy.verify.command import verify
from deploy.verify.options import Options
from shared.messages.control import Activate, Replay, Rollback, Selection
from shared.messaging.operators.operations_client import request, send_request
from shared.views.operations import Done
from tests.e2e.generations import done
from tests.e2e.system import System, own_servers, running_system

pytestmark = pytest.mark.timeout(180)

DATA = Path(__file__).parent / "data_of_older_code"
POISONED = ("o-3", "o-5")
JANUARY = {"from": "2026-01-01", "to": "2026-02-01", "granularity": "day", "currency": "EUR"}
SOLD = {"orders": 9, "items": 52, "revenue": 5200, "cancelled": 1}


@pytest.fixture(scope="module")
async def older(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    with own_servers() as servers:
        await _restore(servers)
        async with running_system(servers, tmp_path_factory.mktemp("older") / "output.log") as system:
            yield system


async def _restore(servers: Servers) -> None:
    psql = programs.postgres_folder() / "psql"
    databases = {
        "write": servers.write_db_url,
        "summary": servers.stores["summary"],
        "search": servers.stores["search"],
        "operations": servers.operations_db_url,
    }
    for name, url in databases.items():
        restore = await asyncio.create_subprocess_exec(
            psql, "--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", f"--dbname={url}", f"--file={DATA / name}.sql",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, errors = await restore.communicate()
        assert restore.returncode == 0, errors.decode()
    redis: Any = Redis.from_url(servers.stores["analytics"])
    for key, (kind, value) in json.loads((DATA / "analytics.json").read_text()).items():
        match kind:
            case "string":
                await redis.set(key, value)
            case "hash":
                await redis.hset(key, mapping=value)
            case "set":
                await redis.sadd(key, *value)
            case "zset":
                await redis.zadd(key, value)
            case other:
                raise AssertionError(f"{key} is a {other}")
    await redis.aclose()


async def test_databases_of_older_code_are_migrated_and_everything_goes_on_from_them(older: System) -> None:
    await _is_answered_as_before(older)
    await _commands_go_on(older)
    await _letters_are_replayed_and_a_generation_becomes_active(older)
    report = await verify(
        settings_for(older.servers), Options(recheck_interval_s=0.5), Display(Console(quiet=True), None), limit=100
    )
    # What newer code counts in addition is not there until the older generation is rebuilt, and verify says so.
    findings = [(one.projection, one.place) for one in report.findings]
    assert findings == [("analytics", "sales by region and category")], report.as_json()


async def _is_answered_as_before(older: System) -> None:
    assert (await older.get("/orders/o-0"))["status"] == "delivered"
    assert (await older.get("/orders/o-2"))["status"] == "cancelled"
    assert (await older.get("/customers/k-1"))["name"] == "Renamed 1"
    product = await older.get("/products/p-1")
    assert (product["price"], product["stock"], product["review_count"]) == (250, 7, 1)
    assert (await older.get("/analytics/revenue", **JANUARY))["total"] == SOLD
    assert (await older.get("/search/products", q="mug"))["total"] == 4
    freshness = {one["projection"]: one for one in (await older.get("/freshness"))["projections"]}
    active = {name: one["generation"] for name, one in freshness.items()}
    assert active.items() >= {"summary": 1, "analytics": 2, "search": 1}.items()
    assert freshness["summary"]["held"] == len(POISONED)


async def _commands_go_on(older: System) -> None:
    first = {"customer_id": "k-0", "name": "Customer 0", "email": "k0@example.org"}
    again = await older.bus.accepted("customers.register-customer", first, id_="c-1")
    assert (again["stream"], again["version"]) == ("customers/k-0", 1)
    refused = await older.bus.command(
        "customers.register-customer", {"customer_id": "k-9", "name": "x", "email": "K2@example.org"}
    )
    assert refused["code"] == "email-already-taken"
    shipped = await older.bus.accepted("orders.ship-order", {"carrier": "post"}, subject="o-4")
    assert shipped["version"] == 3
    await older.visible("/orders/o-4", lambda order: order["version"] == 3)
    cancelled = await older.bus.accepted("orders.cancel-order", {"reason": "too late"}, subject="o-9")
    assert cancelled["version"] == 2
    await older.visible("/analytics/revenue", lambda found: found["total"]["cancelled"] == 2, **JANUARY)


async def _letters_are_replayed_and_a_generation_becomes_active(
    older: System,
) -> None:
    for order_id in POISONED:
        assert (await older.letter("summary", stream=f"orders/{order_id}"))["status"] == "dead"
    act = Replay(selection=Selection(origin="summary"), actor="a test", reason="deployed")
    answer = await send_request(older.servers.rabbitmq_url, request(act, source="tests"), seconds=30)
    assert isinstance(answer, Done)
    for order_id in POISONED:
        assert (await older.visible(f"/orders/{order_id}", lambda order: order["version"] == 2))["status"] == "paid"
    await done(older.bus, Activate(projection="search", generation=2, actor="a test"))
    await older.visible("/search/orders", lambda found: found["total"] == 1, q="o-7")
    await done(older.bus, Rollback(projection="search", actor="a test"))
    await older.visible("/search/orders", lambda found: found["total"] == 1, q="o-7")
    await done(older.bus, Activate(projection="search", generation=2, actor="a test"))
