"""What services refuse an identity reaches the audit: counted by the minute, and recorded once however often it is reported."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

from shared.messages.envelope import CONTENT_TYPE
from shared.messaging import topology
from shared.messaging.broker import Outgoing, Publisher
from shared.messaging.denials import Denials
from tests.integration.dead_letters.harness import Harness
from tests.proxy import Proxy

NOON = datetime(2026, 4, 1, 12, tzinfo=UTC)


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


async def recorded(harness: Harness, count: int) -> list[tuple[str, str, int]]:
    async def there() -> bool:
        return bool(await harness.db.fetchval("SELECT count(*) FROM audit") >= count)

    await harness.until(there)
    rows = await harness.db.fetch("SELECT actor, act, details FROM audit ORDER BY actor, number")
    assert {row["act"] for row in rows} == {"denied"}
    return [(row["actor"], (found := json.loads(row["details"]))["action"], found["count"]) for row in rows]


async def test_refusals_are_counted_by_the_minute_and_recorded(harness: Harness) -> None:
    await harness.start()
    clock = Clock()
    denials = Denials("query_service", harness.publisher, now=clock)
    for _ in range(3):
        denials.note("ann", "GET /dead-letters", "forbidden", scope="dead-letters:read")
    clock.now += timedelta(minutes=1)
    denials.note("ann", "GET /dead-letters", "forbidden", scope="dead-letters:read")
    denials.note("", "GET /orders/{order_id}", "unauthenticated", behind="bob")
    await denials.flush()
    assert await recorded(harness, 3) == [
        ("ann", "GET /dead-letters", 3),
        ("ann", "GET /dead-letters", 1),
        ("anonymous", "GET /orders/{order_id}", 1),
    ]
    row = await harness.db.fetchrow("SELECT * FROM audit WHERE number = 1")
    assert row is not None
    assert row["reason"] == "query_service refused GET /dead-letters 3 times in this minute: forbidden"
    assert json.loads(row["details"]) == {
        "service": "query_service",
        "action": "GET /dead-letters",
        "code": "forbidden",
        "scope": "dead-letters:read",
        "minute": "2026-04-01T12:00:00Z",
        "count": 3,
    }


async def test_a_report_that_comes_twice_is_recorded_once(harness: Harness) -> None:
    await harness.start()
    denials = Denials("worker", harness.publisher, now=Clock())
    denials.note("shop", "orders.pay-order", "not-allowed")
    denials._close_minute()
    (message,) = denials._waiting
    for _ in range(3):
        await harness.publisher.publish(message)
    denials.note("shop", "orders.ship-order", "not-allowed")
    await denials.flush()
    assert await recorded(harness, 2) == [("shop", "orders.pay-order", 1), ("shop", "orders.ship-order", 1)]


async def test_refusals_wait_for_the_broker(harness: Harness) -> None:
    await harness.start()
    async with Proxy(harness.settings.rabbitmq_url).running() as proxy:
        publisher = Publisher(proxy.url, "test", deadline_s=1)
        denials = Denials("worker", publisher)
        stopping = asyncio.Event()
        proxy.down()
        denials.note("shop", "orders.pay-order", "not-allowed")
        await denials.flush()
        assert await harness.db.fetchval("SELECT count(*) FROM audit") == 0
        proxy.up()
        running = asyncio.create_task(denials.run(stopping))
        assert await recorded(harness, 1) == [("shop", "orders.pay-order", 1)]
        stopping.set()
        await running
        await publisher.close()


async def test_a_report_that_nobody_can_read_keeps_no_other_waiting(harness: Harness) -> None:
    await harness.start()
    for body in (b"{", b'{"data": {"identity": "x"}}'):
        await harness.publisher.publish(
            Outgoing(topology.CHANGES, topology.report_key("worker", "denied"), body, CONTENT_TYPE)
        )
    denials = Denials("worker", harness.publisher)
    denials.note("shop", "orders.pay-order", "not-allowed")
    await denials.flush()
    assert await recorded(harness, 1) == [("shop", "orders.pay-order", 1)]


async def test_a_flood_of_different_refusals_stays_small(harness: Harness) -> None:
    denials = Denials("query_service", harness.publisher, now=Clock())
    for number in range(100_000):
        denials.note(f"someone-{number}", "GET /orders", "forbidden")
    assert len(denials._counts) == 1001
    assert sum(denials._counts.values()) == 100_000
