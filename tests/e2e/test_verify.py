"""``tidemark verify`` on a system at work: it reports nothing that is not so, finds what is, and has healed what can be."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from rich.console import Console

from deploy.demo.display import Display
from deploy.demo.system import settings_for
from deploy.verify.command import verify as verify_all
from deploy.verify.options import Options
from tests.e2e.event_store import append_raw
from tests.e2e.system import System

pytestmark = pytest.mark.timeout(120)

SHOPPERS = 6
NOT_DAMAGE = {"held", "discarded"}
"""Other tests leave such streams behind."""


async def verify(system: System, *, heal: bool = False) -> dict[str, Any]:
    """The report, as a program gets it."""
    options, display = Options(recheck_interval_s=0.5), Display(Console(quiet=True), None)
    report = await verify_all(settings_for(system.servers), options, display, heal=heal, limit=100_000)
    return report.as_json()


async def place(system: System, order_id: str, customer_id: str) -> None:
    lines = [{"product_id": f"p-{n}", "name": "x", "quantity": 1, "amount": 10} for n in range(5)]
    order = {"order_id": order_id, "customer_id": customer_id, "currency": "EUR", "lines": lines}
    await system.bus.accepted("orders.place-order", order)


@asynccontextmanager
async def rush(system: System) -> AsyncIterator[list[int]]:
    """Orders are placed, paid and cancelled, all in the same hour, as fast as they are accepted; how many, in the list."""
    done = [0]
    over = asyncio.Event()

    async def shop() -> None:
        while not over.is_set():
            order = f"rush-{uuid4().hex}"
            await place(system, order, "rush")
            await system.bus.accepted("orders.pay-order", {"amount": 50}, subject=order)
            if done[0] % 3 == 0:
                await system.bus.accepted("orders.cancel-order", {"reason": "too much"}, subject=order)
            done[0] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(SHOPPERS):
            group.create_task(shop())
        try:
            yield done
        finally:
            over.set()


async def test_nothing_is_reported_while_orders_come_in(system: System) -> None:
    async with rush(system) as orders:
        while orders[0] < 20:  # noqa: ASYNC110 - until the rush is on
            await asyncio.sleep(0.05)
        report = await verify(system)
        during = orders[0]
    assert [one for one in report["findings"] if one["kind"] not in NOT_DAMAGE] == []
    assert (report["unsettled"], report["generations"]["summary"]) == (0, 1)
    assert report["streams"] >= 20
    assert during > 20


async def test_what_is_missing_is_healed_and_what_differs_is_not(system: System) -> None:
    mark = uuid4().hex
    lost, forgotten, changed = (f"{name}-{mark}" for name in ("lost", "forgotten", "changed"))
    for order in (lost, forgotten, changed):
        await place(system, order, mark)
        await system.visible(f"/orders/{order}")
    await system.visible("/search/orders", lambda found: found["total"] == 3, q=mark)
    paid = {"order_id": lost, "customer_id": mark, "amount": 50, "currency": "EUR", "paid_at": "2026-03-01T00:00:00Z"}
    await append_raw(system.servers.write_db_url, f"orders/{lost}", 2, "orders.order-paid", paid, lost=True)
    summary = await asyncpg.connect(system.servers.stores["summary"], server_settings={"search_path": "summary"})
    await summary.execute("UPDATE orders SET total = 1 WHERE order_id = $1", changed)
    for statement in ("DELETE FROM orders WHERE order_id = $1", "DELETE FROM history WHERE stream = 'orders/' || $1"):
        await summary.execute(statement, forgotten)
    await summary.execute("DELETE FROM baskets WHERE order_id = $1", forgotten)
    await summary.execute("DELETE FROM positions WHERE stream = 'orders/' || $1", forgotten)
    report = await verify(system)
    assert not report["equal"]
    assert ours(report, mark) == {
        ("summary", "behind", f"orders/{lost}"),
        ("analytics", "behind", f"orders/{lost}"),
        ("search", "behind", f"orders/{lost}"),
        ("summary", "missing", f"orders/{forgotten}"),
        ("summary", "different", f"orders/{changed}"),
    }
    report = await verify(system, heal=True)
    assert report["asked_again"] == 4
    assert ours(report, mark) == {("summary", "different", f"orders/{changed}")}
    shown = await system.visible(f"/orders/{lost}", lambda found: found["status"] == "paid")
    assert shown["version"] == 2
    assert (await system.get(f"/orders/{forgotten}"))["total"] == 50
    await summary.execute("UPDATE orders SET total = 50 WHERE order_id = $1", changed)
    await summary.close()


def ours(report: dict[str, Any], mark: str) -> set[tuple[str, str, str]]:
    return {(one["projection"], one["kind"], one["place"]) for one in report["findings"] if mark in one["place"]}
