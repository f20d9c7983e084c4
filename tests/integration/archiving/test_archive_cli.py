"""``tidemark archive``: what is old, what is said, what is refused; and a run that is killed is continued by the next."""

import asyncio
import os
import sys
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
import typer

from command_service.archiving import archiver
from deploy.cli.archive import parse_before
from shared.runtime.failpoints import EXIT_CODE
from shared.runtime.settings import Settings
from tests.integration.archiving.conftest import stored
from tests.integration.program import Program

archive = Program("archive")
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T09:30:00+02:00", datetime(2026, 3, 1, 7, 30, tzinfo=UTC)),
        ("90d", NOW - timedelta(days=90)),
    ],
)
def test_what_is_old_is_a_date_a_time_or_so_many_days(text: str, moment: datetime) -> None:
    assert parse_before(text, NOW) == moment


@pytest.mark.parametrize("text", ["yesterday", "2026-02-30", "-3d", "2026-03-01T09:30:00", ""])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(typer.Exit) as refused:
        parse_before(text, NOW)
    assert refused.value.exit_code == 2


@pytest.mark.usefixtures("old_orders")
async def test_it_says_what_was_moved_and_what_would_be(write_db: asyncpg.Connection) -> None:
    said = await archive.said("--before", "2026-06-01", "--dry-run")
    assert "14 events from before 2026-06-01 00:00:00Z would be moved" in said
    found = await archive.json_of("--before", "2026-06-01", "--dry-run")
    assert (found["dry_run"], found["before"], found["events"]) == (True, "2026-06-01T00:00:00Z", 14)
    assert await write_db.fetchval("SELECT count(*) FROM archived_events") == 0
    found = await archive.json_of("--before", "2026-06-01", "--batch", "5")
    assert (found["dry_run"], found["kinds"]) == (False, {"orders": {"streams": 5, "events": 14}})
    assert "0 events" in await archive.said("--before", "2026-06-01")
    named = await archive.json_of("--before", "2026-06-01", "--kind", "customers", "--kind", "products")
    assert named["kinds"] == {"customers": {"streams": 1, "events": 3}}


@pytest.mark.usefixtures("old_orders")
async def test_what_it_cannot_do_it_says_in_a_line(write_db: asyncpg.Connection) -> None:
    await archive.refused("--before", "soon", code=2, says="'soon' is no date")
    await archive.refused("--before", "90d", "--kind", "invoices", code=2, says="customers, ")
    away = {"TIDEMARK_WRITE_DB_URL": "postgresql://127.0.0.1:1/x"}
    await archive.refused("--before", "90d", code=3, says="PostgreSQL", environ=away)
    await write_db.execute(archiver.LOCK)
    await archive.refused("--before", "90d", code=1, says="another `tidemark archive` is running")
    await write_db.execute(archiver.UNLOCK)
    await write_db.execute("UPDATE streams SET state_version = 0, version = 9 WHERE stream = 'orders/cancelled-0'")
    said = await archive.said("--before", "2026-06-01", code=1)
    assert "left alone: orders/cancelled-0, whose state cannot be replayed" in said


@pytest.mark.usefixtures("old_orders")
@pytest.mark.parametrize("place", ["before-commit", "after-commit"])
async def test_a_killed_run_leaves_every_event_in_one_place_and_is_continued(
    write_db: asyncpg.Connection, migrated: Settings, place: str
) -> None:
    before = {stream: [version for version, _ in events] for stream, events in (await stored(write_db)).items()}
    arguments = ("-m", "deploy.cli.main", "archive", "--before", "2026-06-01", "--batch", "3")
    environment = {
        **os.environ,
        "TIDEMARK_FAILPOINT": f"archive:{place}:2",
        "TIDEMARK_WRITE_DB_URL": migrated.write_db_url,
    }
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, env=environment)
    async with asyncio.timeout(60):
        assert await process.wait() == EXIT_CODE
    assert await write_db.fetchval("SELECT count(*) FROM archived_events") == (3 if place == "before-commit" else 6)
    async with asyncio.timeout(20):
        while (await archive.run("--before", "2026-06-01")).exit_code != 0:  # noqa: ASYNC110 - until the server notices its death
            await asyncio.sleep(0.1)
    places = await stored(write_db)
    assert {stream: [version for version, _ in events] for stream, events in places.items()} == before
    assert await write_db.fetchval("SELECT count(*) FROM archived_events") == 14
