"""An order of as many lines as there may be goes the whole way and back out of every figure; and what an order records at its placing."""

import json
from typing import Any

import pytest

from shared.contracts.orders import MAX_LINES
from shared.contracts.values import MAX_MESSAGE_BYTES
from tests.e2e.bus import encode, envelope
from tests.e2e.system import System

pytestmark = pytest.mark.timeout(90)

DAY = {"from": "2026-01-20", "to": "2026-01-21"}


def large_order(order_id: str, customer_id: str) -> dict[str, Any]:
    """Of MAX_LINES different products, in a message that is nearly as large as one may be."""
    filling = " ".join(f"word{n}" for n in range(20))
    lines = [
        {"product_id": f"{order_id}-p{n}", "name": f"Item {n} {filling}"[:135], "quantity": 1, "amount": n}
        for n in range(MAX_LINES)
    ]
    placed_at = "2026-01-20T12:00:00Z"
    return {
        "order_id": order_id,
        "customer_id": customer_id,
        "currency": "EUR",
        "lines": lines,
        "placed_at": placed_at,
    }


async def test_an_order_of_5000_lines_is_placed_shown_counted_found_and_taken_back_out(system: System) -> None:
    await system.bus.accepted("customers.register-customer", {"customer_id": "large-c", "name": "L", "region": "Far"})
    product = {"product_id": "large-p7", "name": "Seven", "category": "Sevens", "price": 7, "currency": "EUR"}
    await system.bus.accepted("catalog.create-product", product)
    order = large_order("large", "large-c")
    size = len(encode(envelope("orders.place-order", order)))
    assert 0.85 * MAX_MESSAGE_BYTES < size < MAX_MESSAGE_BYTES
    await system.bus.accepted("orders.place-order", order)
    shown = await system.visible("/orders/large")
    assert (len(shown["lines"]), shown["region"], shown["lines"][7]["category"]) == (MAX_LINES, "Far", "Sevens")
    revenue = await system.visible("/analytics/revenue", lambda found: found["total"]["orders"], currency="EUR", **DAY)
    assert (revenue["total"]["items"], revenue["total"]["revenue"]) == (MAX_LINES, sum(range(MAX_LINES)))
    [best] = (await system.get("/analytics/top-products", by="revenue", limit=1, currency="EUR", **DAY))["items"]
    assert (best["product_id"], best["revenue"]) == (f"large-p{MAX_LINES - 1}", MAX_LINES - 1)
    categories = await system.get("/analytics/categories", by="units", currency="EUR", **DAY)
    assert [(row["category"], row["items"]) for row in categories["items"]] == [(None, MAX_LINES - 1), ("Sevens", 1)]
    report = await system.get("/analytics/report", month="2026-01", by="region", currency="EUR")
    assert {"Far"} <= {row["key"] for row in report["rows"]}
    found = await system.visible("/search/orders", lambda found: found["total"], q="large")
    assert found["items"][0]["order_id"] == "large"

    await system.bus.accepted("orders.cancel-order", {"reason": "too much"}, subject="large")
    revenue = await system.visible("/analytics/revenue", lambda r: r["total"]["cancelled"], currency="EUR", **DAY)
    assert revenue["total"] == {"orders": 0, "items": 0, "revenue": 0, "cancelled": 1}
    assert (await system.get("/analytics/categories", currency="EUR", **DAY))["items"] == []
    assert (await system.get("/analytics/top-products", currency="EUR", **DAY))["items"] == []
    await system.visible("/orders/large", lambda found: found["status"] == "cancelled")


async def test_more_lines_or_a_larger_message_are_refused_and_the_error_says_both_limits(system: System) -> None:
    line = {"product_id": "p", "quantity": 1, "amount": 1}
    order = {"order_id": "too-long", "customer_id": "c", "currency": "EUR", "lines": [line] * (MAX_LINES + 1)}
    refused = await system.bus.command("orders.place-order", order)
    assert refused["code"] == "validation-failed"
    for limit in (MAX_LINES, MAX_MESSAGE_BYTES):
        assert str(limit) in refused["errors"][0]["message"]


async def test_a_later_move_and_a_later_category_do_not_change_what_was_sold(system: System) -> None:
    await system.bus.accepted("customers.register-customer", {"customer_id": "mover", "name": "M", "region": "Old"})
    product = {"product_id": "moved-p", "name": "P", "category": "Before", "price": 1, "currency": "EUR"}
    await system.bus.accepted("catalog.create-product", product)
    lines = [{"product_id": "moved-p", "quantity": 1, "amount": 10}]

    async def place(order_id: str) -> None:
        data = {"order_id": order_id, "customer_id": "mover", "currency": "EUR", "lines": lines}
        await system.bus.accepted("orders.place-order", data | {"placed_at": "2025-11-20T12:00:00Z"})

    await place("before-move")
    await system.bus.accepted("customers.change-region", {"region": "New"}, subject="mover")
    await system.bus.accepted("catalog.update-product", {"category": "After"}, subject="moved-p")
    await place("after-move")
    both = {"month": "2025-11", "currency": "EUR"}
    report = await system.visible("/analytics/report", lambda r: r["total"]["orders"] == 2, by="region", **both)
    assert {row["key"]: row["orders"] for row in report["rows"]} == {"Old": 1, "New": 1}
    assert (report["total"]["customers"], [row["customers"] for row in report["rows"]]) == (1, [1, 1])
    categories = await system.get("/analytics/report", by="category", **both)
    assert {row["key"]: row["revenue"] for row in categories["rows"]} == {"Before": 10, "After": 10}
    await system.bus.accepted("orders.cancel-order", {"reason": "no"}, subject="before-move")
    report = await system.visible("/analytics/report", lambda r: r["total"]["orders"] == 1, by="region", **both)
    assert {row["key"]: row["orders"] for row in report["rows"]} == {"New": 1}
    customer = await system.visible("/customers/mover", lambda found: found["version"] == 2)
    assert customer["region"] == "New"
    assert json.dumps((await system.get("/orders/before-move"))["region"]) == '"Old"'
