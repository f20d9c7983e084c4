"""History goes out page by page to whom asks for it: of the kinds of stream that are named, and of no others."""

import json
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from command_service.publishing import history
from command_service.publishing.history import HistoryPublisher
from shared.messages.control import HISTORY, ReadHistory, Request
from shared.messages.envelope import split
from shared.messages.lanes import HISTORY_PAGE, HistoryPage
from shared.messaging import topology
from shared.messaging.broker import Outgoing
from shared.runtime.settings import Settings

FILL = """
INSERT INTO events (stream, version, envelope)
SELECT kind || '/' || n, v, json_build_object('type', 'x', 'subject', kind || '/' || n, 'streamversion', v)
FROM unnest($1::text[]) AS kind, generate_series(1, $2::int) AS n, generate_series(1, $3::int) AS v
"""
OPEN = """
INSERT INTO streams (stream, kind, version, state, updated_at)
SELECT stream, split_part(stream, '/', 1), count(*), '{}', now() FROM events GROUP BY stream
"""
# Before, between and after the others, whatever the collation.
ALL = ["accounts", "customers", "orders", "payments", "products", "users"]
SOME = ("orders", "products")


class Queue:
    """A publisher that keeps what it is given: the projection's history queue."""

    def __init__(self) -> None:
        self.pages: list[HistoryPage] = []
        self.events: list[tuple[str, int]] = []
        self.announced = 0

    async def publish(self, message: Outgoing) -> None:
        assert message.routing_key == topology.history_queue("analytics")
        if message.type == HISTORY_PAGE:
            self.pages.append(HistoryPage.model_validate_json(message.body))
            return
        self.announced += int(message.headers[topology.EVENTS_HEADER])
        self.events += [(event["subject"], event["streamversion"]) for event in split(message.body)]


async def read_all(settings: Settings, kinds: tuple[str, ...] | None, *, limit: int) -> Queue:
    """As a projector asks, page by page."""
    queue: Any = Queue()
    nobody: Any = None
    publisher = HistoryPublisher(settings.write_db_url, nobody, queue)
    after = ("", 0)
    try:
        while not (queue.pages and queue.pages[-1].done):
            asked = ReadHistory(
                projection="analytics",
                generation=2,
                after_stream=after[0],
                after_version=after[1],
                limit=limit,
                count=not queue.pages,
                kinds=kinds,
            )
            request = Request[ReadHistory](id="h", source="tests", type=HISTORY, time=datetime.now(UTC), data=asked)
            await publisher._send_page(request.id, request.data)
            after = queue.pages[-1].last_stream, queue.pages[-1].last_version
    finally:
        await publisher.close()
    found: Queue = queue
    return found


@pytest.mark.parametrize(
    ("kinds", "expected"), [(None, ALL), (SOME, SOME), (("orders", "clinics"), ("orders",)), ((), ())]
)
async def test_pages_have_the_events_of_the_kinds_that_are_named_and_count_no_others(
    write_db: asyncpg.Connection, migrated: Settings, kinds: tuple[str, ...] | None, expected: list[str]
) -> None:
    await write_db.execute(FILL, ALL, 9, 3)
    await write_db.execute(OPEN)
    found = await read_all(migrated, kinds, limit=10)
    assert sorted(found.events) == sorted(
        (f"{kind}/{n}", v) for kind in expected for n in range(1, 10) for v in (1, 2, 3)
    )
    assert len(set(found.events)) == len(found.events) == found.announced
    assert found.pages[0].total == len(found.events)
    ends = found.pages[1::2]
    assert sum(page.events for page in ends) == len(found.events)
    assert [page.events for page in found.pages[::2]] == [page.events for page in ends]
    assert [page.done for page in ends] == [False] * (len(ends) - 1) + [True]


async def test_of_kinds_that_are_not_named_no_event_is_read(write_db: asyncpg.Connection) -> None:
    await write_db.execute(FILL, ["customers", "orders"], 2000, 1)
    await write_db.execute("VACUUM ANALYZE events")
    arguments = ("", 0, "orders/zzz", 9, 1000, ["orders"])
    for setting, value in history.IN_KEY_ORDER.items():
        await write_db.execute("SELECT set_config($1, $2, false)", setting, value)
    [[answer]] = await write_db.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) {history.PORTION_OF_KINDS}", *arguments)
    scans = [*_scans(json.loads(answer)[0]["Plan"])]
    rows = [(scan["Relation Name"], scan["Node Type"], scan["Actual Rows"] * scan["Actual Loops"]) for scan in scans]
    assert [scan for scan in rows if scan[0] == "events"] == [
        ("events", "Index Only Scan", 1000),
        ("events", "Index Scan", 1000),
    ], answer
    assert scans[-1]["Relation Name"] == "archived_events"
    assert scans[-1]["Actual Loops"] == 0, "of each event, only the table that has it is read"


def _scans(plan: dict[str, Any]) -> Any:
    if "Scan" in plan["Node Type"] and plan["Node Type"] != "Subquery Scan":
        yield plan
    for part in plan.get("Plans", ()):
        yield from _scans(part)
