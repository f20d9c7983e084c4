"""Garbage among events: what names no stream is a dead letter; what names one holds that stream in order; all else flows."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from pydantic_core import to_json

from shared.messaging import topology
from shared.read_models import named
from tests import shop
from tests.e2e.bus import encode
from tests.e2e.event_store import append_raw
from tests.e2e.system import System

pytestmark = pytest.mark.timeout(60)

EVENT = {
    "specversion": "1.0",
    "id": "orders/x@1",
    "source": "tests",
    "type": "orders.order-placed",
    "subject": "orders/x",
    "time": "2026-01-01T00:00:00Z",
    "data": {},
    "streamversion": 1,
    "schemaversion": 2,
    "causationid": "c",
    "correlationid": "c",
}
UNDECODABLE = {
    "nothing at all": b"",
    "not JSON": b"\xff\xfe\x00 an event",
    "a number": b"42",
    "an empty batch": b"[]",
    "no stream": encode({name: value for name, value in EVENT.items() if name != "subject"}),
    "version 0": encode(EVENT | {"streamversion": 0}),
    "a version that is a text": encode(EVENT | {"streamversion": "last"}),
    "a broken heartbeat": encode({"type": "tidemark.heartbeat", "lane": "first"}),
    "100,000 levels deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "5 MB of nothing": b"\x00" * 5_000_000,
}

AS_JSON = frozenset({"a number", "no stream", "version 0", "a version that is a text", "a broken heartbeat"})


@pytest.fixture(autouse=True)
async def everything_flows(system: System) -> AsyncIterator[None]:
    """After every test a new stream in each lane passes through all projections, and nobody has died of it."""
    before = {name: system.supervisor.pid(name) for name in topology.PROJECTORS}
    yield
    mark = uuid4().hex
    for number in range(8):
        await place(system, f"{mark}-{number}", customer_id=mark)
    await system.visible("/orders", lambda found: len(found["items"]) == 8, customer_id=mark)
    await system.visible("/search/orders", lambda found: found["total"] == 8, q=mark)
    assert {
        name: system.supervisor.pid(name) for name in topology.PROJECTORS if system.supervisor.running(name)
    } == before


async def place(system: System, order_id: str, **changes: Any) -> None:
    line = {"product_id": "p", "quantity": 1, "amount": 10}
    order = {"order_id": order_id, "customer_id": "c", "currency": "EUR", "lines": [line]}
    await system.bus.accepted("orders.place-order", order | changes)


@pytest.mark.parametrize("projector", topology.PROJECTORS)
async def test_what_is_no_event_becomes_a_dead_letter_with_its_reason(system: System, projector: str) -> None:
    kind = named(projector).kinds[0]
    bodies = {name: body.replace(b"orders/x", f"{kind}/x".encode()) for name, body in UNDECODABLE.items()}
    for body in bodies.values():
        await system.bus.put(topology.lane_queue(projector, 0), body)
    for name, body in bodies.items():
        # What is JSON is kept as JSON, not as the bytes it came in.
        storable = body if name not in AS_JSON else to_json(json.loads(body))
        letter = await system.letter(projector, body=storable)
        assert letter["reason"] == "undecodable-event", name
        assert letter["exception"], name


@pytest.mark.parametrize(
    ("type_", "schema", "without", "reason", "says"),
    [
        ("orders.order-paid", 1, "", "undecodable-event", "OrderPaid"),
        ("orders.order-paid", 1, "type", "undecodable-event", "type"),
        ("orders.order-paid", 1, "time", "undecodable-event", "time"),
        ("orders.order-paid", 1, "data", "undecodable-event", "data"),
        ("orders.order-paid", 1, "schemaversion", "undecodable-event", "schemaversion"),
    ],
    ids=["data that does not fit", "no type", "no time", "no data", "no schema"],
)
async def test_an_event_that_nobody_understands_holds_its_stream_only(
    system: System, type_: str, schema: int, without: str, reason: str, says: str
) -> None:
    order_id = f"held-{uuid4().hex}"
    stream = f"orders/{order_id}"
    await place(system, order_id)
    await system.visible(f"/orders/{order_id}")
    await append_raw(
        system.servers.write_db_url, stream, 2, type_, {"order_id": order_id}, schema=schema, without=without
    )
    await system.bus.accepted("orders.pay-order", {"amount": 10}, subject=order_id)
    for projector in shop.WITH_ORDERS:
        letter = await system.letter(projector, stream=stream)
        assert (letter["reason"], letter["version"]) == (reason, 2)
        assert says in letter["exception"]
        assert json.loads(letter["body"])["streamversion"] == 2
    assert (await system.get(f"/orders/{order_id}"))["version"] == 1
    connection = await asyncpg.connect(system.servers.stores["summary"], server_settings={"search_path": "summary"})
    held = await connection.fetchrow("SELECT status, version, reason FROM held WHERE stream = $1", stream)
    await connection.close()
    assert held is not None
    assert tuple(held) == ("dead", 2, reason)


async def test_garbage_in_a_message_keeps_none_of_its_neighbours_waiting(system: System) -> None:
    order_id = f"beside-{uuid4().hex}"
    stream = f"orders/{order_id}"
    await place(system, order_id)
    for path in (f"/orders/{order_id}", f"/orders/{order_id}/history"):
        await system.visible(path)
    payment = {"order_id": order_id, "customer_id": "c", "amount": 10, "currency": "EUR", "paid_at": EVENT["time"]}
    paid = await append_raw(system.servers.write_db_url, stream, 2, "orders.order-paid", payment, lost=True)
    mark = f"garbage beside {order_id}"
    lane = topology.lane_of(stream, 4)
    for projector in shop.WITH_ORDERS:
        body = f'[42, {{"garbage": "{mark}"}}, {paid}, {{"subject": 7}}, null]'.encode()
        await system.bus.put(topology.lane_queue(projector, lane), body)
        assert (await system.letter(projector, part=mark.encode()))["reason"] == "undecodable-event"
    found = await system.visible(f"/orders/{order_id}", lambda order: order["version"] == 2)
    assert (found["status"], found["held"]) == ("paid", None)
