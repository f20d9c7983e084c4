"""Events that are in the archive are still the truth: a rebuild, a comparison, verify and a resend come to the same as before."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest
from rich.console import Console

from command_service.archiving.archiver import archive
from deploy.cli.projections.commands import compare_generations
from deploy.demo.display import Display
from deploy.demo.system import settings_for
from deploy.verify.command import verify
from deploy.verify.options import Options
from shared.messages.control import Drop, Rebuild
from tests.e2e.generations import done, until_ready
from tests.e2e.system import System

pytestmark = pytest.mark.timeout(120)

WHO = {"actor": "a test", "reason": "to see it"}
NOT_DAMAGE = {"held", "discarded"}
"""Other tests leave such streams behind."""
LOSE = """
WITH lost AS (DELETE FROM summary.orders WHERE order_id = $1), forgotten AS (DELETE FROM summary.history WHERE stream = $2)
DELETE FROM summary.positions WHERE stream = $2
"""


async def delivered(system: System, order_id: str) -> None:
    line = {"product_id": "p-archived", "quantity": 1, "amount": 10}
    order = {"order_id": order_id, "customer_id": "c-archived", "currency": "EUR", "lines": [line]}
    await system.bus.accepted("orders.place-order", order)
    await system.bus.accepted("orders.pay-order", {"amount": 10}, subject=order_id)
    await system.bus.accepted("orders.ship-order", {}, subject=order_id)
    await system.bus.accepted("orders.deliver-order", {}, subject=order_id)
    await system.visible(f"/orders/{order_id}", lambda found: found["version"] == 4)


async def test_with_closed_orders_in_the_archive_everything_that_reads_events_comes_to_the_same(system: System) -> None:
    order = f"o-{uuid4().hex}"
    await delivered(system, order)
    settings = settings_for(system.servers)
    write = await asyncpg.connect(settings.write_db_url)
    try:
        found = await archive(write, datetime.now(UTC) + timedelta(hours=1))
        assert found.kinds["orders"].events >= 4
        assert await write.fetchval("SELECT count(*) FROM events WHERE stream = $1", f"orders/{order}") == 0
    finally:
        await write.close()

    await done(system.bus, Rebuild(projection="summary", generation=2, **WHO))
    await until_ready(system.servers, "summary", 2)
    comparison = await compare_generations(settings, "summary", 2, 1, 5)
    assert [part for part in comparison.parts if not part.equal] == []
    await done(system.bus, Drop(projection="summary", generation=2, **WHO))

    summary = await asyncpg.connect(settings.store_url("summary"))
    await summary.execute(LOSE, order, f"orders/{order}")
    await summary.close()
    options, display = Options(recheck_interval_s=0.5), Display(Console(quiet=True), None)
    report = await verify(settings, options, display, heal=True)
    assert [one for one in report.as_json()["findings"] if one["kind"] not in NOT_DAMAGE] == []
    assert (await system.get(f"/orders/{order}"))["status"] == "delivered"
    assert [entry["version"] for entry in (await system.get(f"/orders/{order}/history"))["items"]] == [1, 2, 3, 4]
