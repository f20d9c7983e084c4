"""Facts that an order borrows from its customer and its products, read from the write database in one statement for a batch."""

import json
from typing import Any

import asyncpg

from command_service.handling.decision import Outcome
from command_service.handling.event_store import BORROWED_FACTS
from command_service.handling.handler import Handler
from tests.integration.command_service.test_handling import command

# Customers as they were stored before they had a region.
BEFORE_REGIONS = """
UPDATE streams SET state_version = 1, state = (state::jsonb - 'region')::json WHERE kind = 'customers'
"""
SALES = "SELECT envelope -> 'data' AS data FROM events WHERE stream LIKE 'orders/%' ORDER BY stream, version"


def register(customer: str, **data: Any) -> Any:
    return command("customers.register-customer", f"register-{customer}", {"customer_id": customer, "name": "x"} | data)


def move(customer: str, region: str) -> Any:
    return command("customers.change-region", f"{customer}-to-{region}", {"region": region}, subject=customer)


def create(product: str, category: str) -> Any:
    data = {"product_id": product, "name": "x", "category": category, "price": 1, "currency": "EUR"}
    return command("catalog.create-product", f"create-{product}", data)


def place(order: str, customer: str, *products: str) -> Any:
    lines = [{"product_id": product, "quantity": 1, "amount": 5} for product in products]
    data = {"order_id": order, "customer_id": customer, "currency": "EUR", "lines": lines}
    return command("orders.place-order", f"place-{order}", data)


async def handle(handler: Handler, *commands: Any) -> None:
    for result in await handler.handle(commands):
        assert isinstance(result, Outcome), result
        assert result.accepted, result.body


async def sales(write_db: asyncpg.Connection) -> list[Any]:
    found = [json.loads(row["data"]) for row in await write_db.fetch(SALES)]
    return [(each.get("region"), [line.get("category") for line in each["lines"]]) for each in found if "lines" in each]


async def test_facts_come_from_earlier_batches_and_from_earlier_commands_of_the_same(
    handler: Handler, write_db: asyncpg.Connection
) -> None:
    await handle(handler, register("c", region="North"), create("p", "Tea"), create("q", "Cups"))
    await handle(handler, place("o-1", "c", "p", "q", "unknown"), move("c", "South"), place("o-2", "c", "p"))
    await handle(handler, place("o-3", "d", "p"))
    await handle(handler, command("orders.cancel-order", "cancel", {"reason": "no"}, subject="o-1"))
    assert await sales(write_db) == [
        ("North", ["Tea", "Cups", None]),
        ("North", ["Tea", "Cups", None]),
        ("South", ["Tea"]),
        (None, ["Tea"]),
    ]


async def test_a_customer_from_before_regions_is_replayed_once_and_stored(
    handler: Handler, write_db: asyncpg.Connection
) -> None:
    await handle(handler, register("c"), register("d"), move("d", "West"))
    await write_db.execute(BEFORE_REGIONS)
    await handle(handler, place("o-1", "c", "p"), place("o-2", "d", "p"))
    assert [region for region, _ in await sales(write_db)] == [None, "West"]
    rows = await write_db.fetch(
        "SELECT version, state_version, state ->> 'region' FROM streams WHERE kind = 'customers'"
    )
    assert sorted(map(tuple, rows)) == [(1, 2, None), (2, 2, "West")]


async def test_a_customer_whose_stream_cannot_be_replayed_can_still_buy(
    handler: Handler, write_db: asyncpg.Connection
) -> None:
    await handle(handler, register("c", region="North"))
    await write_db.execute(BEFORE_REGIONS)
    await write_db.execute("DELETE FROM events WHERE stream = 'customers/c'")
    await handle(handler, place("o-1", "c", "p"))
    assert await sales(write_db) == [(None, [None])]


async def test_facts_are_looked_up_by_key(write_db: asyncpg.Connection, handler: Handler) -> None:
    await handle(handler, register("c", region="North"))
    await write_db.execute("SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off")
    arguments = (["customers/c"], ["customers"], ["region"], [2], [2])
    plan = "\n".join(row[0] for row in await write_db.fetch(f"EXPLAIN {BORROWED_FACTS}", *arguments))
    assert "streams_pkey" in plan, plan
    assert "Seq Scan" not in plan, plan
