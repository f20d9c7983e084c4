"""Orders in every state and customers, in the write database, as the handler has written them."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from command_service.handling.handler import Handler
from command_service.handling.parsing import Command
from shared.runtime.settings import Settings
from tests.integration.command_service.test_handling import command, register, rename, verdicts

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
SINCE_THEN = datetime(2026, 6, 1, tzinfo=UTC)
LINES = [{"product_id": "p", "name": "Tea", "quantity": 2, "amount": 10}]
STEPS = {
    "delivered": ["pay", "ship", "deliver"],
    "cancelled": ["cancel"],
    "shipped": ["pay", "ship"],
    "placed": [],
}
DATA: dict[str, dict[str, Any]] = {"pay": {"amount": 10}, "cancel": {"reason": "too late"}}


def life(order_id: str, status: str) -> list[Command]:
    """The commands that bring an order there."""
    place = {"order_id": order_id, "customer_id": "c", "currency": "EUR", "lines": LINES}
    steps = [command("orders.place-order", f"{order_id}-place", place)]
    for step in STEPS[status]:
        steps.append(command(f"orders.{step}-order", f"{order_id}-{step}", DATA.get(step, {}), subject=order_id))
    return steps


@pytest.fixture
async def handler(write_db: asyncpg.Connection, migrated: Settings) -> AsyncIterator[Handler]:
    """One whose clock, and that of the rows it has written, stands long ago."""
    made = Handler(migrated.write_db_url, migrated.keys_db_url, clock=lambda: LONG_AGO)
    yield made
    await made.close()


@pytest.fixture
async def old_orders(handler: Handler, write_db: asyncpg.Connection) -> None:
    """Three orders in each state, unchanged for long, but one delivered just now; and a customer with three events."""
    commands = [each for status in STEPS for number in range(3) for each in life(f"{status}-{number}", status)]
    commands += [register("k1", "c"), rename("k2", "c", "Bea"), rename("k3", "c", "Cleo")]
    assert all(verdict.startswith("v") for verdict in verdicts(await handler.handle(commands)))
    await write_db.execute("UPDATE streams SET updated_at = $1 WHERE stream <> 'orders/delivered-2'", LONG_AGO)


async def stored(connection: asyncpg.Connection) -> dict[str, list[tuple[int, bool]]]:
    """Stream → its versions, in order, and whether each is in the archive."""
    found: dict[str, list[tuple[int, bool]]] = {}
    for row in await connection.fetch("SELECT stream, version, archived FROM all_events ORDER BY stream, version"):
        found.setdefault(row["stream"], []).append((row["version"], row["archived"]))
    return found
