"""Old events move to the archive, none twice and none lost, whatever interrupts it; and everything that reads events reads them there."""

import asyncio
import json
from typing import Any

import asyncpg
import pytest

from command_service.archiving import archiver
from command_service.archiving.archiver import Archived, ArchiveRunningError, Counts, archive
from command_service.domain.orders import AGGREGATE as ORDERS
from command_service.handling.handler import Handler
from command_service.handling.state_replay import replay
from command_service.publishing import history, resend
from command_service.publishing.resend import Resender
from command_service.publishing.version_comparison import AHEAD
from deploy.verify import event_store
from deploy.verify.event_store import EventStore
from shared.messages.control import RESEND, Request, Resend, StreamFrom
from shared.runtime.failpoints import Failpoint
from shared.runtime.postgres import KEY_LOOKUPS
from shared.runtime.settings import Settings
from tests.integration.archiving.conftest import LONG_AGO, SINCE_THEN, life, stored
from tests.integration.command_service.test_handling import command, rename, verdicts
from tests.integration.command_service.test_history import read_all
from tests.integration.command_service.test_resend import Sent

pytestmark = pytest.mark.usefixtures("old_orders")

CLOSED = {"orders/delivered-0", "orders/delivered-1", *(f"orders/cancelled-{number}" for number in range(3))}
FOUND = Archived({"orders": Counts(streams=5, events=14)})


async def test_closed_streams_that_have_not_changed_since_are_moved_whole_and_no_others(
    write_db: asyncpg.Connection,
) -> None:
    before = await write_db.fetch("SELECT stream, version, envelope::text, epoch FROM all_events ORDER BY 1, 2")
    assert await archive(write_db, SINCE_THEN) == FOUND
    places = await stored(write_db)
    assert {stream for stream, events in places.items() if all(archived for _, archived in events)} == CLOSED
    assert not any(archived for stream, events in places.items() if stream not in CLOSED for _, archived in events)
    after = await write_db.fetch("SELECT stream, version, envelope::text, epoch FROM all_events ORDER BY 1, 2")
    assert after == before


async def test_a_second_run_finds_nothing_and_a_dry_one_moves_nothing(write_db: asyncpg.Connection) -> None:
    before = await stored(write_db)
    assert await archive(write_db, SINCE_THEN, dry_run=True) == FOUND
    assert await stored(write_db) == before
    assert await archive(write_db, SINCE_THEN) == FOUND
    assert await archive(write_db, SINCE_THEN) == Archived()
    assert await archive(write_db, LONG_AGO) == Archived()


async def test_of_kinds_that_are_named_the_old_events_of_open_streams_are_moved_too(
    handler: Handler, write_db: asyncpg.Connection, migrated: Settings
) -> None:
    later = Handler(migrated.write_db_url, migrated.keys_db_url)
    assert verdicts(await later.handle([rename("k4", "c", "Dora"), rename("k5", "c", "Eve")])) == ["v4", "v5"]
    await later.close()
    assert await archive(write_db, SINCE_THEN, kinds=["customers"], batch=2) == Archived({"customers": Counts(1, 3)})
    places = await stored(write_db)
    assert places["customers/c"] == [(1, True), (2, True), (3, True), (4, False), (5, False)]
    assert not any(archived for stream, events in places.items() if stream != "customers/c" for _, archived in events)
    assert verdicts(await handler.handle([rename("k6", "c", "Fay")])) == ["v6"]
    assert await archive(write_db, SINCE_THEN, kinds=["customers"], batch=2) == Archived()


@pytest.mark.parametrize("batch", [1, 3, 5, 1000])
@pytest.mark.parametrize("place", [Failpoint.BEFORE_COMMIT, Failpoint.AFTER_COMMIT])
async def test_a_run_that_dies_at_any_batch_is_continued_by_the_next(
    write_db: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, place: Failpoint, batch: int
) -> None:
    class KilledError(Exception):
        pass

    before = {stream: [version for version, _ in events] for stream, events in (await stored(write_db)).items()}
    deaths = 0
    while True:
        visits = 0

        def reached(here: Failpoint) -> None:
            nonlocal visits
            visits += here is place
            if visits == 2:
                raise KilledError

        monkeypatch.setattr(archiver, "reached", reached)
        try:
            await archive(write_db, SINCE_THEN, batch=batch)
            break
        except KilledError:
            deaths += 1
        places = await stored(write_db)
        assert {stream: [version for version, _ in events] for stream, events in places.items()} == before
        for events in places.values():
            assert [archived for _, archived in events] == sorted((archived for _, archived in events), reverse=True)
        assert await write_db.fetchval("SELECT count(*) FROM archived_events") > 0
    assert await write_db.fetchval("SELECT count(*) FROM archived_events") == FOUND.events
    assert (deaths > 0) is (batch < FOUND.events)


async def test_a_batch_has_at_most_as_many_events_as_it_may(
    write_db: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    async def counting(connection: asyncpg.Connection) -> None:
        sizes.append(await connection.fetchval("SELECT count(*) FROM archived_events"))

    flush = archiver._Run._flush

    async def flushing(run: Any) -> None:
        await flush(run)
        await counting(write_db)

    monkeypatch.setattr(archiver._Run, "_flush", flushing)
    await archive(write_db, SINCE_THEN, batch=4)
    steps = [after - before for before, after in zip([0, *sizes], sizes, strict=False)]
    assert steps == [4, 4, 4, 2]


async def test_commands_are_decided_meanwhile_and_nothing_is_lost(
    handler: Handler, write_db: asyncpg.Connection, migrated: Settings
) -> None:
    async def live() -> None:
        for number in range(30):
            await handler.handle(life(f"live-{number}", "delivered"))

    async def archiving() -> None:
        connection = await asyncpg.connect(migrated.write_db_url)
        try:
            for _ in range(10):
                await archive(connection, SINCE_THEN.replace(year=2190), batch=3)
        finally:
            await connection.close()

    await asyncio.gather(live(), archiving())
    await archive(write_db, SINCE_THEN.replace(year=2190))
    places = await stored(write_db)
    for number in range(30):
        assert places[f"orders/live-{number}"] == [(version, True) for version in range(1, 5)]


async def test_two_runs_at_once_are_one_too_many(write_db: asyncpg.Connection, migrated: Settings) -> None:
    other = await asyncpg.connect(migrated.write_db_url)
    await other.execute(archiver.LOCK)
    try:
        with pytest.raises(ArchiveRunningError):
            await archive(write_db, SINCE_THEN)
    finally:
        await other.close()


async def test_a_stream_whose_state_is_of_older_code_is_replayed_to_see_whether_it_is_closed(
    write_db: asyncpg.Connection,
) -> None:
    await write_db.execute("UPDATE streams SET state_version = 0")
    await write_db.execute("UPDATE streams SET version = 5 WHERE stream = 'orders/delivered-0'")
    found = await archive(write_db, SINCE_THEN)
    assert found.kinds == {"orders": Counts(streams=4, events=10)}
    assert "has no event 5" in found.unreadable["orders/delivered-0"]


class TestReaders:
    """What reads old events, with the closed streams in the archive and an open one half in it."""

    @pytest.fixture(autouse=True)
    async def _archived(self, write_db: asyncpg.Connection, old_orders: None) -> None:
        await archive(write_db, SINCE_THEN)
        await write_db.execute(archiver.MOVE, ["orders/shipped-0"], [1], [2])

    async def test_state_is_replayed(self, handler: Handler, write_db: asyncpg.Connection) -> None:
        for stream, version, status in (("orders/delivered-1", 4, "delivered"), ("orders/shipped-0", 3, "shipped")):
            state: Any = await replay(write_db, stream, ORDERS, version)
            assert state.status == status
        await write_db.execute("UPDATE streams SET state_version = 0")
        deliver = command("orders.deliver-order", "deliver", {}, subject="shipped-0")
        assert verdicts(await handler.handle([deliver])) == ["v4"]

    async def test_history_has_every_event_once_and_in_order(
        self, write_db: asyncpg.Connection, migrated: Settings
    ) -> None:
        expected = [(stream, version) for stream, events in (await stored(write_db)).items() for version, _ in events]
        for limit in (1, 3, 1000):
            for kinds in (None, ("orders",)):
                found = await read_all(migrated, kinds, limit=limit)
                assert found.events == [one for one in expected if kinds is None or one[0].startswith("orders/")]

    async def test_an_archived_version_is_sent_again(self, migrated: Settings) -> None:
        sent: Any = Sent()
        nobody: Any = None
        resender = Resender(migrated.write_db_url, nobody, sent, lanes=4)
        wanted = {"orders/delivered-0": 2, "orders/shipped-0": 1, "orders/placed-0": 1}
        asked = Resend(
            projection="summary",
            streams=tuple(StreamFrom(stream=stream, version=version) for stream, version in wanted.items()),
        )
        try:
            request = Request[Resend](id="r", source="tests", type=RESEND, time=LONG_AGO, data=asked)
            await resender._until_done(request)
        finally:
            await resender.close()
        assert sent.versions == {
            "orders/delivered-0": [2, 3, 4],
            "orders/shipped-0": [1, 2, 3],
            "orders/placed-0": [1],
        }

    async def test_versions_are_compared(self, write_db: asyncpg.Connection) -> None:
        rows = await write_db.fetch(AHEAD, ["orders/delivered-0", "orders/shipped-0"], [9, 3], 10**6)
        assert [tuple(row) for row in rows] == [("orders/delivered-0", 9, 4)]

    async def test_verify_reads_every_event_and_finds_no_hole(self, write_db: asyncpg.Connection) -> None:
        pool: Any = _Pool(write_db)
        store = EventStore(pool)
        streams = sorted(await stored(write_db))
        for content in (True, False):
            assert (await store.read(streams, content=content)).holes == {}
        found = await store.events_after({"orders/delivered-0": (1, 4), "orders/shipped-0": (1, 3)})
        assert {stream: [event.version for event in events] for stream, events in found.items()} == {
            "orders/delivered-0": [2, 3, 4],
            "orders/shipped-0": [2, 3],
        }
        assert [stream async for stream in store.orphans()] == []
        await write_db.execute("DELETE FROM streams WHERE stream = 'orders/delivered-0'")
        assert [stream async for stream in store.orphans()] == ["orders/delivered-0"]


class _Pool:
    """A pool of one connection."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    def acquire(self) -> "_Pool":
        return self

    async def __aenter__(self) -> asyncpg.Connection:
        return self._connection

    async def __aexit__(self, *_: object) -> None:
        pass

    async def fetch(self, *arguments: Any) -> list[asyncpg.Record]:
        return await self._connection.fetch(*arguments)


FILL = """
INSERT INTO {0} (stream, version, envelope)
SELECT 'orders/' || n, v, json_build_object('time', '2026-01-01T00:00:00Z')
FROM generate_series($1::int, $2::int) AS n, generate_series($3::int, $4::int) AS v
"""
MANY = [f"orders/{number}" for number in range(1, 4000, 40)]
PLANS: dict[str, tuple[str, list[Any]]] = {
    "move": (archiver.MOVE, [MANY, [1] * 100, [9] * 100]),
    "page of streams": (archiver.PAGE_OF_STREAMS, ["", SINCE_THEN, 100, ["orders"]]),
    "last before": (archiver.LAST_BEFORE, ["orders/7", 1, SINCE_THEN, 100]),
    "page of history": (history.PAGE_END, ["orders/2", 3, 500, None]),
    "portion of history": (history.PORTION_OF_PAGE, ["orders/2", 3, "orders/3", 1, 500]),
    "portion of kinds": (history.PORTION_OF_KINDS, ["orders/2", 3, "orders/3", 1, 500, ["orders"]]),
    "resend": (resend.EVENTS_FROM, [MANY, [1] * 100, 10]),
    "comparison of versions": (AHEAD, [MANY, [9] * 100, 1]),
    "events to verify": (event_store.EVENTS, [MANY]),
    "later events to verify": (event_store.EVENTS_AFTER, [MANY, [1] * 100, [9] * 100]),
    "counts to verify": (event_store.EVENT_COUNTS, [MANY]),
}


@pytest.mark.parametrize("name", PLANS)
async def test_both_tables_are_read_by_index_and_in_its_order(write_db: asyncpg.Connection, name: str) -> None:
    statement, arguments = PLANS[name]
    async with write_db.transaction():
        await write_db.execute(FILL.format("events"), 1, 4000, 4, 6)
        await write_db.execute(FILL.format("archived_events"), 1, 4000, 1, 3)
        await write_db.execute("ANALYZE events, archived_events")
        settings = KEY_LOOKUPS if name in ("move", "page of streams", "last before") else {}
        for setting, value in settings.items():
            await write_db.execute("SELECT set_config($1, $2, true)", setting, value)
        [[answer]] = await write_db.fetch(f"EXPLAIN (FORMAT JSON) {statement}", *arguments)
        await write_db.execute("DELETE FROM events WHERE stream ~ '/[0-9]+$'")
        await write_db.execute("DELETE FROM archived_events")
    text = json.dumps(json.loads(answer))
    assert '"Seq Scan"' not in text, answer
    assert '"Index Cond"' in text, answer
    if "history" in name or name in ("portion of kinds", "resend"):
        assert "Merge Append" in text, answer
