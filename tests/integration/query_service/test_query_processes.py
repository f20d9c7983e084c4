"""Failed processes are seen in ``/freshness``, and a long history is read page by page."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import uuid4

import asyncpg
import httpx
import pytest

from deploy.servers.provide import Servers
from query_service.app import create_app
from query_service.http.requests import Stores
from query_service.stores.postgres_store import PostgresStore
from shared.runtime.settings import Settings

NAME = "fulfilment"
SINCE = datetime(2026, 5, 1, 12, tzinfo=UTC)

FAILED = """
INSERT INTO processes (id, status, failure, received)
VALUES ($1, 'failed', jsonb_build_object('input_id', 'x', 'exception', 'ValueError', 'fingerprint', 'f', 'at', $2::timestamptz), $3)
"""
INPUTS = """
INSERT INTO inputs (process, number, input_id, kind, at, body, received_at)
SELECT $1, n, 'orders/' || $1 || '@' || n, 'event', now(), '{}', now() FROM generate_series(1, $2) AS n
"""


@pytest.fixture
async def db(migrated: Settings) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(migrated.processes_url(), server_settings={"search_path": NAME})
    await connection.execute("TRUNCATE processes, inputs, timers, commands")
    yield connection
    await connection.execute("TRUNCATE processes, inputs, timers, commands")
    await connection.close()


@pytest.fixture
async def client(servers: Servers, migrated: Settings) -> AsyncIterator[httpx.AsyncClient]:
    nowhere = PostgresStore("appointment-reminders", "postgresql://x@127.0.0.1:1/x", "appointment_reminders")
    stores = Stores(process_managers=[PostgresStore(NAME, migrated.processes_url(), NAME), nowhere])
    transport = httpx.ASGITransport(app=create_app(stores))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://query") as made:
        yield made
    await stores.close()


async def test_failed_processes_are_said_in_words(db: asyncpg.Connection, client: httpx.AsyncClient) -> None:
    async def managers() -> dict[str, dict[str, object]]:
        found = (await client.get("/freshness")).json()["process_managers"]
        return {one["projection"]: one for one in found}

    before = await managers()
    assert (before[NAME]["failed"], before[NAME]["attention"]) == (0, None)
    assert "error" in before["appointment-reminders"]
    await db.execute(FAILED, "o-1", SINCE, 0)
    one = await managers()
    assert one[NAME]["failed"] == 1
    assert str(one[NAME]["attention"]).startswith("process o-1 has failed since 2026-05-01T12:00:00")
    assert "tidemark processes retry" in str(one[NAME]["attention"])
    await db.execute(FAILED, "o-2", SINCE, 0)
    assert str((await managers())[NAME]["attention"]).startswith("2 processes have, for example o-1,")


async def test_a_history_of_any_length_is_read_page_by_page(db: asyncpg.Connection, client: httpx.AsyncClient) -> None:
    process = uuid4().hex
    await db.execute(FAILED, process, SINCE, 450)
    await db.execute(INPUTS, process, 450)
    shown = (await client.get(f"/processes/{process}", params={"name": NAME})).json()
    assert (len(shown["history"]), shown["history_total"], shown["pruned_at"]) == (200, 450, None)
    numbers: list[int] = []
    cursor = None
    while True:
        params = {"name": NAME, "limit": "100"} | ({"cursor": cursor} if cursor else {})
        answer = await client.get(f"/processes/{process}/history", params=params)
        assert answer.status_code == 200, answer.text
        numbers += [one["number"] for one in answer.json()["items"]]
        cursor = answer.json()["next_cursor"]
        if cursor is None:
            break
    assert numbers == list(range(450, 0, -1))
    missing = await client.get(f"/processes/{uuid4().hex}/history", params={"name": NAME})
    assert missing.status_code == 404
