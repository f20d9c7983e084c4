"""Read your own write: the first query with an outcome's token shows the write, in all three stores, under load."""

import asyncio
from typing import Any

import pytest

from tests.e2e.system import System
from tests.e2e.test_place_and_read import order

pytestmark = pytest.mark.timeout(60)

ORDERS = 50
DAY = "2026-02-17"


async def test_the_first_query_with_the_outcomes_token_shows_the_order_in_every_store(system: System) -> None:
    async def place_and_read(number: int) -> None:
        order_id = f"own-{number}"
        outcome = await system.bus.accepted("orders.place-order", order(order_id, DAY))
        token = {"Tidemark-Consistency": f"{outcome['stream']}@{outcome['version']}", "Prefer": "wait=20"}
        one, figures, found = await asyncio.gather(
            system.queries.get(f"/orders/{order_id}", headers=token),
            system.queries.get(f"/analytics/customers?from={DAY}&to=2026-02-18", headers=token),
            system.queries.get(f"/search/orders?q={order_id}", headers=token),
        )
        assert [answer.status_code for answer in (one, figures, found)] == [200, 200, 200]
        assert one.json()["version"] == 1
        assert figures.json()["distinct"] >= 1
        assert [item["order_id"] for item in found.json()["items"]] == [order_id]
        assert one.headers["preference-applied"] == "wait=20"

    await asyncio.gather(*(place_and_read(number) for number in range(ORDERS)))
    assert await system.get("/analytics/customers", **{"from": DAY, "to": "2026-02-18"}) == {"distinct": ORDERS}


async def test_the_http_ingress_hands_out_the_token(system: System) -> None:
    response = await system.commands.post(
        "/commands/orders.place-order",
        json=order("own-http", "2026-02-19", lines=[{"product_id": "p", "quantity": 1, "amount": 5}]),
        headers={"Prefer": "wait=10", "Idempotency-Key": "own-http-id"},
    )
    write = response.headers["tidemark-consistency"]
    assert write.startswith("orders/own-http@1;epoch=")
    assert (await system.commands.get("/commands/own-http-id")).headers["tidemark-consistency"] == write
    headers: Any = {"Tidemark-Consistency": write, "Prefer": "wait=20"}
    assert (await system.queries.get("/orders/own-http", headers=headers)).status_code == 200
    refused = await system.queries.get("/orders/own-http", headers={"Tidemark-Consistency": "orders/own-http@2"})
    assert (refused.status_code, refused.json()["applied"]) == (412, 1)
