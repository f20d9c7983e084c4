"""Dead letters come in once each, whatever comes over the queues and however often."""

import asyncio
import json

import pytest

from tests.integration.dead_letters.harness import Harness, command, event
from tests.proxy import Proxy


async def test_a_letter_says_what_failed_where_and_why(harness: Harness) -> None:
    await harness.start()
    await harness.die("orders/o1", 3)
    await harness.statuses(dead=1)
    row = await harness.db.fetchrow("SELECT * FROM letters JOIN payloads ON letter_id = id")
    assert row is not None
    assert (row["origin"], row["stream"], row["version"], row["seen"]) == ("summary", "orders/o1", 3, 5)
    assert (row["type"], row["reason"], row["attempts"]) == ("orders.order-placed", "projection-failed", 4)
    assert row["fingerprint"] == "ValueError|projection.py:fold|boom"
    assert row["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert row["body"] == event("orders/o1", 3)
    assert json.loads(row["headers"])["tidemark-version"] == 3


async def test_the_same_failure_delivered_again_changes_nothing(harness: Harness) -> None:
    headers = await harness.die("orders/o1")
    for _ in range(3):
        await harness.letter("summary", event("orders/o1", 1), headers)
    await harness.die("orders/o2")
    await harness.start()
    await harness.statuses(2, dead=2)
    assert [row["attempts"] for row in await harness.db.fetch("SELECT attempts FROM letters")] == [4, 4]
    assert await harness.db.fetchval("SELECT count(*) FROM letter_failures") == 2


async def test_a_second_failure_is_the_same_letter_with_one_more_attempt(harness: Harness) -> None:
    await harness.start()
    await harness.die("orders/o1", message="first")
    await harness.statuses(dead=1)
    await harness.die("orders/o1", message="second")

    async def changed() -> bool:
        return bool(await harness.db.fetchval("SELECT attempts = 5 AND exception LIKE '%second' FROM letters"))

    await harness.until(changed)
    history = await harness.db.fetch("SELECT attempts, exception FROM letter_failures ORDER BY failed_at")
    assert [tuple(row) for row in history] == [(4, "ValueError: first"), (5, "ValueError: second")]
    assert await harness.db.fetchval("SELECT first_failed_at < last_failed_at FROM letters")


async def test_an_event_that_has_passed_closes_its_letter_whichever_comes_first(harness: Harness) -> None:
    """News and letters come over different queues: the projection is asked about every letter."""
    await harness.play()
    await harness.passed(("orders/early", 1), ("orders/late", 1))
    await harness.start()
    await asyncio.sleep(0.5)
    await harness.die("orders/early")
    harness.held.pop(("orders/early", 1))
    await harness.die("orders/held")
    await harness.statuses(2, resolved=1, dead=1)
    harness.held.pop(("orders/held", 1))
    await harness.passed(("orders/held", 1))
    await harness.statuses(2, resolved=2)
    assert await harness.db.fetchval("SELECT count(*) FROM letters WHERE resolved_at IS NOT NULL") == 2


async def test_dead_commands_are_letters_by_their_id_and_what_they_ask_for(harness: Harness) -> None:
    await harness.start()
    await harness.command_dies("k1", correlation_id="c-9")
    await harness.command_dies("k1")
    await harness.command_dies("k1", {"name": "another"})
    await harness.command_dies("k2")
    await harness.statuses(3, dead=3)
    row = await harness.db.fetchrow("SELECT * FROM letters WHERE id = 1")
    assert row is not None
    assert (row["command_id"], row["type"], row["stream"]) == ("k1", "customers.rename-customer", None)
    assert (row["routing_key"], row["reply_to"], row["correlation_id"]) == (
        "customers.rename-customer",
        "reply.shop",
        "c-9",
    )
    assert row["fingerprint"] == "UndefinedColumnError|handling.py:_unit|column ? is missing"


async def test_what_the_broker_gave_up_is_a_letter_for_each_event_in_it(harness: Harness) -> None:
    beat = json.dumps({"type": "tidemark.heartbeat"}).encode()
    body = b"[" + b",".join([event("orders/a", 1), event("orders/b", 7), beat, b'{"no": "event"}']) + b"]"
    death = {"reason": "delivery_limit", "queue": "summary.0", "count": 1, "routing-keys": ["lane.0"]}
    await harness.letter("summary", body, {"x-death": [death], "x-delivery-count": 21})
    await harness.letter("commands", b"[" + command("k1") + b"," + command("k2") + b"]", {"x-death": [death]})
    await harness.start()
    await harness.statuses(5, dead=5)
    rows = await harness.db.fetch(
        "SELECT reason, stream, version, command_id FROM letters ORDER BY origin, stream, command_id"
    )
    assert {row["reason"] for row in rows} == {"delivery-limit"}
    assert {(row["stream"], row["version"]) for row in rows} >= {("orders/a", 1), ("orders/b", 7)}
    assert {row["command_id"] for row in rows} == {"k1", "k2", None}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00\xff\xfe",
        b"{" * 50_000,
        b"[" * 100_000,
        b'{"type": "a\\u0000b", "id": "\\u0000", "traceparent": "-\\u0000--"}',
        b'{"id": "k", "data": {"n": ' + b"9" * 10_000 + b"}}",
        b"[]",
        b"null",
        b'{"id": "\\ud800"}',
        b'{"type": "customers.rename-customer", "subject": "c\\u0000", "data": {"name": "Ann"}}',
        b'{"type": "customers.rename-customer", "subject": "' + b"c" * 10_000 + b'", "data": {"name": "Ann"}}',
        b'{"id": "\\ud800", "type": "customers.rename-customer", "subject": "\\ud800", "data": {"name": "Ann"}}',
    ],
)
async def test_any_bytes_become_letters_and_those_after_them_come_in_too(harness: Harness, body: bytes) -> None:
    for headers in (
        {},
        {"x-death": "nonsense"},
        {"tidemark-reason": "odd\x00", "tidemark-version": 2**62, "tidemark-stream": "s\x00", "tidemark-attempts": -1},
        {
            "tidemark-reason": bytearray(b"\xff"),
            "tidemark-failed-at": "yesterday",
            "tidemark-exception": ["a", {"b": 1.5}],
        },
    ):
        await harness.letter("summary", body, headers)
        await harness.letter("commands", body, headers)
    await harness.die("orders/after")
    worker = await harness.start()

    async def came() -> bool:
        count = "SELECT count(*) FILTER (WHERE stream = 'orders/after'), count(*) FILTER (WHERE origin = 'commands') FROM letters"
        row = await harness.db.fetchrow(count)
        return row is not None and row[0] == 1 and row[1] >= 1

    await harness.until(came)
    assert not any(task.done() for task in worker.tasks)


async def test_while_the_database_is_away_letters_wait_in_the_queue_and_then_are_all_there_once(
    harness: Harness,
) -> None:
    async with Proxy(harness.settings.operations_db_url).running() as proxy:
        worker = await harness.start(url=proxy.url)
        await harness.die("orders/o0")
        await harness.statuses(dead=1)
        proxy.withhold_requests()
        for number in range(1, 30):
            await harness.die(f"orders/o{number}")
        await asyncio.sleep(1)
        proxy.cut()
        proxy.withhold_requests()
        await asyncio.sleep(1)
        proxy.cut()
        await harness.statuses(30, dead=30)
        assert not any(task.done() for task in worker.tasks)
        await worker.kill()
    assert await harness.db.fetchval("SELECT count(*) FROM letter_failures") == 30


async def test_a_worker_killed_while_it_takes_letters_in_loses_and_doubles_none(harness: Harness) -> None:
    for number in range(300):
        await harness.die(f"orders/o{number}")
    for delay in (0.25, 0.3, 0.35, 0.5):
        worker = await harness.start()
        await asyncio.sleep(delay)
        await worker.kill()
    await harness.start()
    await harness.statuses(300, dead=300)
    assert await harness.db.fetchval("SELECT count(*) FROM letter_failures") == 300
