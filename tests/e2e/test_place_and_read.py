"""From a command to every answer that shows it."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest

from command_service.http.asyncapi import document
from shared.messaging import topology
from tests.e2e.bus import Bus, encode, envelope
from tests.e2e.system import System

pytestmark = pytest.mark.timeout(60)

LINES = [
    {"product_id": "apple", "name": "Apple, red", "quantity": 3, "amount": 300},
    {"product_id": "pear", "name": "Pear, green", "quantity": 1, "amount": 150},
]


def order(order_id: str, day: str, **changes: Any) -> dict[str, Any]:
    return {
        "order_id": order_id,
        "customer_id": f"{order_id}-customer",
        "currency": "EUR",
        "lines": LINES,
        "placed_at": f"{day}T10:30:00Z",
    } | changes


async def test_an_order_placed_over_the_bus_is_answered_and_then_visible_in_every_route(system: System) -> None:
    answer = await system.bus.accepted("orders.place-order", order("bus-1", "2026-01-01"), id_="bus-1-id")
    assert answer == {
        "type": "command.accepted",
        "command_id": "bus-1-id",
        "command_type": "orders.place-order",
        "stream": "orders/bus-1",
        "version": 1,
        "events": ["orders.order-placed"],
        "epoch": answer["epoch"],
    }
    await _is_visible_everywhere(system, "bus-1", "2026-01-01", "2026-01-02")


async def test_an_order_placed_over_http_gets_its_outcome_when_the_caller_waits(system: System) -> None:
    response = await system.commands.post(
        "/commands/orders.place-order",
        json=order("http-1", "2026-01-02"),
        headers={"Prefer": "wait=10", "Idempotency-Key": "http-1-id"},
    )
    assert response.status_code == 200, response.text
    assert response.json()["data"]["stream"] == "orders/http-1"
    assert (await system.commands.get("/commands/http-1-id")).content == response.content
    await _is_visible_everywhere(system, "http-1", "2026-01-02", "2026-01-03")


async def _is_visible_everywhere(system: System, order_id: str, day: str, next_day: str) -> None:
    one = await system.visible(f"/orders/{order_id}")
    shown = {key: one[key] for key in ("status", "currency", "item_count", "total", "lines", "placed_at", "version")}
    assert shown == {
        "status": "placed",
        "currency": "EUR",
        "item_count": 4,
        "total": 450,
        "lines": LINES,
        "placed_at": f"{day}T10:30:00Z",
        "version": 1,
    }
    customer = f"{order_id}-customer"
    for path, filters in (
        ("/orders", {"customer_id": customer}),
        ("/orders", {"status": "placed", "placed_from": day, "placed_to": next_day}),
        (f"/customers/{customer}/orders", {}),
    ):
        assert [item["order_id"] for item in (await system.get(path, **filters))["items"]] == [order_id]
    [entry] = (await system.get(f"/orders/{order_id}/history"))["items"]
    assert (entry["version"], entry["type"], entry["data"]["total"]) == (1, "orders.order-placed", 450)
    span = {"from": day, "to": next_day}
    revenue = await system.visible("/analytics/revenue", lambda r: r["total"]["orders"], currency="EUR", **span)
    assert revenue["total"] == {"orders": 1, "items": 4, "revenue": 450, "cancelled": 0}
    top = await system.get("/analytics/top-products", by="revenue", currency="EUR", **span)
    assert top["items"][0] == {"product_id": "apple", "name": "Apple, red", "units": 3, "revenue": 300}
    assert await system.get("/analytics/customers", **span) == {"distinct": 1}
    found = await system.visible("/search/orders", lambda r: r["total"], q=order_id)
    assert found["items"][0]["order_id"] == order_id


async def test_an_order_that_is_paid_shipped_and_delivered_shows_each_step(system: System) -> None:
    await system.bus.accepted("orders.place-order", order("steps-1", "2026-01-03"))
    steps: list[tuple[str, dict[str, Any]]] = [
        ("pay", {"amount": 450, "method": "card"}),
        ("ship", {"carrier": "DHL", "tracking": "T1"}),
        ("deliver", {}),
    ]
    for version, (step, data) in enumerate(steps, 2):
        outcome = await system.bus.accepted(
            f"orders.{step}-order", data, subject="steps-1", expectedversion=version - 1
        )
        assert outcome["version"] == version
    shown = await system.visible("/orders/steps-1", lambda found: found["version"] == 4)
    assert (shown["status"], shown["paid_amount"], shown["carrier"]) == ("delivered", 450, "DHL")
    history = (await system.get("/orders/steps-1/history"))["items"]
    assert [entry["type"].removeprefix("orders.order-") for entry in history] == [
        "placed",
        "paid",
        "shipped",
        "delivered",
    ]
    refused = await system.bus.command("orders.cancel-order", {"reason": "too late"}, subject="steps-1")
    assert refused["code"] == "invalid-transition"


async def test_a_cancelled_order_is_taken_back_out_of_the_figures(system: System) -> None:
    span = {"from": "2026-01-04", "to": "2026-01-05"}
    await system.bus.accepted("orders.place-order", order("cancel-1", "2026-01-04"))
    await system.bus.accepted("orders.place-order", order("cancel-2", "2026-01-04"))
    await system.visible("/analytics/revenue", lambda r: r["total"]["orders"] == 2, currency="EUR", **span)
    await system.bus.accepted("orders.cancel-order", {"reason": "changed my mind"}, subject="cancel-1")
    revenue = await system.visible("/analytics/revenue", lambda r: r["total"]["cancelled"], currency="EUR", **span)
    assert revenue["total"] == {"orders": 1, "items": 4, "revenue": 450, "cancelled": 1}
    top = (await system.get("/analytics/top-products", currency="EUR", **span))["items"]
    assert [(item["product_id"], item["units"]) for item in top] == [("apple", 3), ("pear", 1)]
    assert await system.get("/analytics/customers", **span) == {"distinct": 1}
    cancelled = await system.visible("/orders/cancel-1", lambda found: found["status"] == "cancelled")
    assert cancelled["cancellation_reason"] == "changed my mind"


async def test_a_customers_name_that_comes_after_the_order_shows_in_it_and_follows_a_rename(system: System) -> None:
    await system.bus.accepted("orders.place-order", order("name-1", "2026-01-05", customer_id="late"))
    assert (await system.visible("/orders/name-1"))["customer_name"] is None
    await system.bus.accepted("customers.register-customer", {"customer_id": "late", "name": "Ada Lovelace"})
    await system.visible("/orders/name-1", lambda found: found["customer_name"] == "Ada Lovelace")
    await system.visible("/search/orders", lambda found: found["total"] == 1, q="lovelace")
    await system.bus.accepted("customers.rename-customer", {"name": "Ada Byron"}, subject="late")
    await system.visible("/orders/name-1", lambda found: found["customer_name"] == "Ada Byron")
    assert (await system.get("/orders", customer_id="late"))["items"][0]["customer_name"] == "Ada Byron"
    await system.visible("/search/orders", lambda found: found["total"] == 1, q="byron")
    await system.visible("/search/orders", lambda found: found["total"] == 0, q="lovelace")


async def test_a_line_without_a_name_borrows_that_of_its_product(system: System) -> None:
    lines = [{"product_id": "quince", "quantity": 1, "amount": 99}]
    await system.bus.accepted("orders.place-order", order("borrow-1", "2026-01-06", lines=lines))
    assert (await system.visible("/orders/borrow-1"))["lines"][0].get("name") is None
    product = {"product_id": "quince", "name": "Quince jelly", "category": "Fruit", "price": 99, "currency": "EUR"}
    await system.bus.accepted("catalog.create-product", product)
    await system.visible("/orders/borrow-1", lambda found: found["lines"][0].get("name") == "Quince jelly")
    await system.visible("/search/orders", lambda found: found["total"] == 1, q="quince jelly")
    await system.visible("/search/products", lambda found: found["total"] == 1, q="quince")
    top = {"from": "2026-01-06", "to": "2026-01-07", "currency": "EUR"}
    await system.visible("/analytics/top-products", lambda r: r["items"][0]["name"] == "Quince jelly", **top)


@pytest.mark.parametrize("amount", [300, -1], ids=["accepted", "rejected"])
async def test_the_same_command_sent_again_gets_the_same_bytes(system: System, amount: int) -> None:
    lines = [{"product_id": "apple", "quantity": 1, "amount": amount}]
    body = encode(envelope("orders.place-order", order(f"again-{amount}", "2026-01-07", lines=lines)))
    first, second = await asyncio.gather(system.bus.ask(body), system.bus.ask(body))
    third = await system.bus.ask(body)
    assert first == second == third
    id_ = json.loads(body)["id"]
    assert (await system.commands.get(f"/commands/{id_}")).content == first
    other = encode(json.loads(body) | {"data": order("another", "2026-01-07")})
    assert json.loads(await system.bus.ask(other))["data"]["code"] == "idempotency-key-reused"
    assert await system.bus.ask(body) == first


async def test_rejections_are_announced_to_everybody_and_acceptances_are_not(bus: Bus) -> None:
    announced = await bus.listen(topology.OUTCOMES, "rejected.#")
    mark = uuid4().hex
    await bus.accepted("customers.register-customer", {"customer_id": mark, "name": "Somebody"})
    refused = envelope("orders.pay-order", {"amount": 1}, id_=f"{mark}-refused", subject=mark)
    answer = await bus.ask(encode(refused), routing_key="orders.pay-order")
    message = await announced.get(timeout=10)
    await message.ack()
    assert message is not None
    assert message.routing_key == "rejected.orders.pay-order"
    assert message.body == answer
    assert json.loads(answer)["data"]["code"] == "order-not-found"
    assert await announced.get(fail=False) is None


async def test_the_contracts_for_other_languages_are_served(system: System) -> None:
    answer = await system.commands.get("/contracts")
    assert answer.status_code == 200
    assert answer.json() == document()
