"""Deployed in the wrong order: events of a type that the projectors do not know yet wait for them, and pass when they come."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from deploy.run.deployables import program
from shared.messaging import topology
from shared.views import operations
from tests.e2e.event_store import append_raw
from tests.e2e.newer_projector import TYPE
from tests.e2e.system import System, own_servers, running_system

pytestmark = pytest.mark.timeout(120)

HELD = "SELECT status, version, seen, reason FROM held WHERE stream = $1"
LETTERS = "SELECT count(*) FROM letters WHERE stream = $1"
PASSES_WITHIN_S = 60.0


async def held(url: str, schema: str, stream: str) -> tuple[Any, ...] | None:
    connection = await asyncpg.connect(url, server_settings={"search_path": schema})
    row = await connection.fetchrow(HELD, stream)
    await connection.close()
    return None if row is None else tuple(row)


async def until_held(system: System, stream: str, wanted: tuple[Any, ...] | None) -> None:
    """In both stores that are tables."""
    for schema, url in (("summary", system.servers.stores["summary"]), ("search", system.servers.stores["search"])):
        found: tuple[Any, ...] | None = None
        try:
            async with asyncio.timeout(PASSES_WITHIN_S):
                while (found := await held(url, schema, stream)) != wanted:  # noqa: ASYNC110 - asked of the server
                    await asyncio.sleep(0.05)
        except TimeoutError:
            pytest.fail(f"{stream} is held in {schema} as {found}, not {wanted}")


@pytest.fixture
async def apart(tmp_path: Path) -> AsyncIterator[System]:
    """A system of its own: what newer code has applied stays, and is beyond the code that other tests verify it with."""
    with own_servers() as servers:
        async with running_system(servers, tmp_path / "output.log") as system:
            yield system


async def test_an_event_of_a_newer_type_waits_without_a_letter_and_passes_when_newer_projectors_come(
    apart: System,
) -> None:
    system = apart
    order_id = f"rolling-{uuid4().hex}"
    stream = f"orders/{order_id}"
    line = {"product_id": "p", "quantity": 1, "amount": 10}
    order = {"order_id": order_id, "customer_id": "c", "currency": "EUR", "lines": [line]}
    await system.bus.accepted("orders.place-order", order)
    await system.visible(f"/orders/{order_id}")
    await append_raw(system.servers.write_db_url, stream, 2, TYPE, {"order_id": order_id})
    await system.bus.accepted("orders.pay-order", {"amount": 10}, subject=order_id)
    await until_held(system, stream, ("retrying", 2, 3, "unknown-type"))
    assert (await system.get(f"/orders/{order_id}"))["status"] == "placed"
    connection = await asyncpg.connect(
        system.servers.operations_db_url, server_settings={"search_path": operations.SCHEMA}
    )
    assert await connection.fetchval(LETTERS, stream) == 0
    await connection.close()
    for projector in topology.PROJECTORS:
        usual = program(projector, system.servers)
        newer = replace(usual, argv=(usual.argv[0], "-m", "tests.e2e.newer_projector", projector))
        await system.supervisor.kill(projector)
        await system.supervisor.start([newer])
    await until_held(system, stream, None)
    found = await system.visible(f"/orders/{order_id}", lambda found: found["version"] == 3)
    assert found["status"] == "paid"
    await system.visible("/search/orders", lambda found: found["items"][0]["status"] == "paid", q=order_id)
