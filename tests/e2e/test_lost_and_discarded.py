"""What was lost comes again by itself, also where no later event shows it; what is discarded frees what waited behind it."""

from typing import Any
from uuid import uuid4

import aio_pika
import pytest
from redis.asyncio import Redis

from shared.messages.control import Discard, Selection
from shared.messaging import topology
from shared.messaging.operators.operations_client import request, send_request
from shared.processes import PROCESSES
from shared.read_models import READ_MODELS
from shared.views.operations import Done
from tests.e2e.event_store import append_raw
from tests.e2e.system import System

WITH_ORDERS = [
    *(model.name for model in READ_MODELS if "orders" in model.kinds),
    *(process.name for process in PROCESSES if "orders" in process.kinds),
]
"""Whatever reads orders."""

pytestmark = pytest.mark.timeout(90)


async def place(system: System, order_id: str, customer_id: str, **more: str) -> None:
    line = {"product_id": "p-lost", "quantity": 1, "amount": 10}
    order = {"order_id": order_id, "customer_id": customer_id, "currency": "EUR", "lines": [line]}
    await system.bus.accepted("orders.place-order", order | more)


async def purge_lanes(system: System, projector: str) -> int:
    connection = await aio_pika.connect(system.servers.rabbitmq_url)
    async with connection:
        channel = await connection.channel()
        counts = []
        for lane in range(4):
            queue = await channel.declare_queue(topology.lane_queue(projector, lane), passive=True)
            counts.append((await queue.purge()).message_count or 0)
    return sum(counts)


async def test_events_lost_at_the_end_of_their_streams_come_again(system: System) -> None:
    customer = f"lost-{uuid4().hex}"
    await system.supervisor.kill("summary")
    for number in range(8):
        await place(system, f"{customer}-{number}", customer)
    await system.visible("/search/orders", lambda found: found["total"] == 8, q=customer)
    assert await purge_lanes(system, "summary") >= 4
    await system.supervisor.restart("summary")
    found: Any = await system.visible("/orders", lambda page: len(page["items"]) == 8, customer_id=customer)
    assert {item["version"] for item in found["items"]} == {1}


async def test_a_store_that_was_emptied_fills_again(system: System) -> None:
    customer = f"emptied-{uuid4().hex}"
    day = {"from": "2011-03-07", "to": "2011-03-08", "currency": "EUR"}
    for number in range(3):
        await place(system, f"{customer}-{number}", customer, placed_at="2011-03-07T12:00:00Z")
    await system.visible("/analytics/revenue", lambda found: found["total"]["orders"] == 3, **day)
    redis = Redis.from_url(system.servers.stores["analytics"])
    await redis.flushdb()
    await redis.aclose()
    again = await system.visible("/analytics/revenue", lambda found: found["total"]["orders"] == 3, **day)
    assert again["total"] == {"orders": 3, "items": 3, "revenue": 30, "cancelled": 0}


async def test_a_discarded_event_frees_what_waited_behind_it(system: System) -> None:
    order = f"discarded-{uuid4().hex}"
    stream = f"orders/{order}"
    await place(system, order, order)
    await append_raw(system.servers.write_db_url, stream, 2, "orders.order-paid", {"order_id": order})
    await system.bus.accepted("orders.pay-order", {"amount": 10}, subject=order)
    for projector in WITH_ORDERS:
        await system.letter(projector, stream=stream)
    shown = await system.visible(f"/orders/{order}", lambda found: found["held"] is not None)
    assert (shown["version"], shown["held"]["status"], shown["held"]["version"]) == (1, "dead", 2)
    act = Discard(selection=Selection(stream=stream), actor="a test", reason="it does not fit")
    answer = await send_request(system.servers.rabbitmq_url, request(act, source="tests"), seconds=20)
    assert isinstance(answer, Done), answer
    assert answer.count == len(WITH_ORDERS)
    freed = await system.visible(f"/orders/{order}", lambda found: found["status"] == "paid")
    assert (freed["version"], freed["held"]) == (3, None)
    for projector in WITH_ORDERS:
        letters = await system.visible(
            "/dead-letters",
            lambda page: bool(page["items"]) and page["items"][0]["status"] == "discarded",
            origin=projector,
            stream=stream,
            status="discarded",
        )
        assert letters["items"][0]["resolution"]
