"""The audit as a chain: added to by many at once, pruned from its beginning, and checked row by row by ``tidemark audit verify``."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from deploy.cli.audit.chain import GENESIS, Anchor, ChainReport, verify_chain
from deploy.servers.provide import Servers
from projectors.dead_letters.actions.audit import Entry, record, record_all
from projectors.dead_letters.migrations import FILES
from shared.runtime.postgres import migrate
from shared.runtime.settings import Settings
from shared.views.operations import SCHEMA
from tests.integration.databases import database
from tests.integration.program import Program

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
ODD = 'tab\t quote" back\\slash \x01 del\x7f ünï 緑茶 \U0001f980 \u2028 </script>'

audit = Program("audit")


@pytest.fixture
async def operations_url(servers: Servers) -> AsyncIterator[str]:
    """A database with the operations schema, empty."""
    async with database(servers.operations_db_url) as url:
        await migrate(url, FILES, schema=SCHEMA)
        yield url


@pytest.fixture
async def db(operations_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(operations_url, server_settings={"search_path": f"{SCHEMA}, public"})
    yield connection
    await connection.close()


def entries(count: int, first: int = 1, at: datetime = NOW) -> list[Entry]:
    return [
        Entry(
            at + timedelta(microseconds=number),
            f"actor {number} {ODD}",
            "replay",
            ODD,
            letter_id=number if number % 2 else None,
            job_id=None if number % 2 else number,
            projection=None if number % 3 else "summary",
            request_id=f"r-{number}",
            details=json.dumps({"n": number, "text": ODD, "nested": {"b": [1, 2.50, None, True], "a": 1e3}}),
        )
        for number in range(first, first + count)
    ]


async def changed(db: asyncpg.Connection, *statements: str) -> None:
    """As only the owner can, who may switch off what protects the audit."""
    async with db.transaction():
        await db.execute("ALTER TABLE audit DISABLE TRIGGER USER")
        for statement in statements:
            await db.execute(statement)
        await db.execute("ALTER TABLE audit ENABLE TRIGGER USER")


def told(report: ChainReport) -> list[tuple[str, int, int | None]]:
    return [(one.kind, one.number, one.through) for one in report.findings]


async def test_what_is_recorded_is_intact_whatever_the_texts(db: asyncpg.Connection) -> None:
    assert await record_all(db, entries(40)) == 40
    await record(db, "ann", "discard", ODD, letter_id=7, details='{"a": "\\u00e9\\n"}')
    report = await verify_chain(db)
    assert report.intact, report.findings
    assert (report.rows, report.anchor.partition(":")[0]) == (41, "41")
    assert await db.fetchval("SELECT previous FROM audit WHERE number = 1") == GENESIS


async def test_an_empty_audit_is_intact(db: asyncpg.Connection) -> None:
    report = await verify_chain(db)
    assert (report.intact, report.rows, report.anchor) == (True, 0, str(Anchor(0, GENESIS)))


async def test_many_who_record_at_once_make_one_chain(operations_url: str, db: asyncpg.Connection) -> None:
    async def recording(who: int) -> None:
        connection = await asyncpg.connect(operations_url)  # whatever its search_path
        for number in range(25):
            async with connection.transaction():
                await record(connection, f"actor {who}", "replay", f"{number}")
                await record_all(connection, entries(2, first=1000 * who + 2 * number))
                if number % 5 == 4:
                    await connection.execute("SELECT pg_sleep(0.001)")
        await connection.close()

    await asyncio.gather(*(recording(who) for who in range(8)))
    report = await verify_chain(db)
    assert report.intact, report.findings
    assert report.rows == 8 * 25 * 3
    of_one = await db.fetch("SELECT reason FROM audit WHERE actor = 'actor 3' ORDER BY number")
    assert [row["reason"] for row in of_one] == [str(number) for number in range(25)]


async def test_a_transaction_that_is_rolled_back_leaves_no_gap(db: asyncpg.Connection) -> None:
    for number in range(6):
        transaction = db.transaction()
        await transaction.start()
        await record_all(db, entries(3, first=10 * number))
        await (transaction.rollback() if number % 2 else transaction.commit())
    report = await verify_chain(db)
    assert report.intact
    assert report.rows == 9


async def test_an_entry_that_is_to_be_there_once_is_there_once(operations_url: str, db: asyncpg.Connection) -> None:
    async def reporting() -> None:
        connection = await asyncpg.connect(operations_url)
        for number in range(20):
            one = Entry(NOW, "ann", "activate", "", once=f"report {number}")
            await record_all(connection, [one, one])
        await connection.close()

    await asyncio.gather(*(reporting() for _ in range(4)))
    report = await verify_chain(db)
    assert (report.intact, report.rows) == (True, 20)


async def test_a_row_that_an_older_worker_inserts_is_chained_too(db: asyncpg.Connection) -> None:
    await record_all(db, entries(2))
    await db.execute(
        "INSERT INTO audit (actor, act, reason) SELECT 'old', 'discard', n::text FROM generate_series(1, 3) n"
    )
    await record_all(db, entries(2, first=3))
    report = await verify_chain(db)
    assert (report.intact, report.rows) == (True, 7)


@pytest.mark.parametrize(
    ("statements", "found"),
    [
        (["UPDATE audit SET actor = 'bob' WHERE number = 5"], [("changed", 5, None)]),
        (["UPDATE audit SET at = at + interval '1 microsecond' WHERE number = 5"], [("changed", 5, None)]),
        (["UPDATE audit SET details = details || '{\"n\": 6}' WHERE number = 5"], [("changed", 5, None)]),
        (["UPDATE audit SET letter_id = NULL, job_id = letter_id WHERE number = 5"], [("changed", 5, None)]),
        (["UPDATE audit SET once = 'x' WHERE number = 5"], [("changed", 5, None)]),
        (["UPDATE audit SET hash = sha256('x') WHERE number = 5"], [("changed", 5, None)]),
        (["UPDATE audit SET previous = sha256('x') WHERE number = 5"], [("changed", 5, None)]),
        (
            [
                "UPDATE audit SET reason = 'never happened' WHERE number = 5",
                "UPDATE audit SET hash = sha256(previous || audit_content(number, at, actor, act, reason, letter_id, job_id,"
                " projection, request_id, details, once)) WHERE number = 5",
            ],
            [("changed", 5, None)],
        ),
        (["DELETE FROM audit WHERE number = 5"], [("missing", 5, 5)]),
        (["DELETE FROM audit WHERE number BETWEEN 3 AND 6"], [("missing", 3, 6)]),
        (["DELETE FROM audit WHERE number <= 4"], [("missing", 1, 4)]),
        (["DELETE FROM audit WHERE number > 7"], [("cut-off", 8, 10)]),
        (["TRUNCATE audit"], [("cut-off", 1, 10)]),
        (["UPDATE audit_head SET hash = sha256('x')"], [("head", 10, None)]),
        (
            [
                "UPDATE audit SET number = -1 WHERE number = 4",
                "UPDATE audit SET number = 4 WHERE number = 5",
                "UPDATE audit SET number = 5 WHERE number = -1",
            ],
            [("changed", 4, None), ("changed", 5, None)],
        ),
    ],
)
async def test_what_was_changed_is_named(
    db: asyncpg.Connection, statements: Sequence[str], found: list[tuple[str, int, int | None]]
) -> None:
    await record_all(db, entries(10))
    await changed(db, *statements)
    report = await verify_chain(db)
    assert not report.intact
    assert told(report) == found


FORGE = """
DO $$
DECLARE
    before bytea := decode(repeat('00', 32), 'hex');
    one audit;
BEGIN
    FOR one IN SELECT * FROM audit ORDER BY number LOOP
        UPDATE audit SET previous = before, hash = sha256(before || audit_content(number, at, actor, act, reason, letter_id,
            job_id, projection, request_id, details, once)) WHERE number = one.number RETURNING hash INTO before;
    END LOOP;
    UPDATE audit_head SET number = (SELECT max(number) FROM audit), hash = before;
END
$$
"""


@pytest.mark.parametrize(
    ("forgery", "found"),
    [
        ("DELETE FROM audit WHERE number > 7", ("cut-off", 8, 9)),
        ("UPDATE audit SET actor = 'bob' WHERE number = 5", ("anchor", 9, None)),
    ],
)
async def test_an_anchor_finds_what_was_forged_with_all_hashes(
    db: asyncpg.Connection, forgery: str, found: tuple[str, int, int | None]
) -> None:
    await record_all(db, entries(9))
    anchor = Anchor.parse((await verify_chain(db)).anchor)
    await record_all(db, entries(3, first=10))
    assert (await verify_chain(db, anchor)).intact
    await changed(db, forgery, FORGE)
    assert (await verify_chain(db)).intact, "nothing but an anchor can show it"
    assert told(await verify_chain(db, anchor)) == [found]


async def test_retention_cuts_off_the_beginning_and_the_rest_stays_verifiable(db: asyncpg.Connection) -> None:
    await record_all(db, entries(20, at=NOW - timedelta(days=10)))
    early = Anchor.parse((await verify_chain(db)).anchor)
    await record_all(db, entries(5, first=21, at=NOW))
    anchor = Anchor.parse((await verify_chain(db)).anchor)
    cutoff = NOW - timedelta(days=1)
    assert await db.fetchval("SELECT prune_audit($1, 8)", cutoff) == 8
    assert await db.fetchval("SELECT prune_audit($1, 100)", cutoff) == 12
    assert await db.fetchval("SELECT prune_audit($1, 100)", cutoff) == 0
    for since in (None, early, anchor):
        report = await verify_chain(db, since)
        assert report.intact, report.findings
        assert (report.rows, report.pruned) == (5 + 2, 20)
    assert not (await verify_chain(db, Anchor(20, b"\x01" * 32))).intact
    (row,) = await db.fetch("SELECT actor, details FROM audit WHERE act = 'prune-audit' ORDER BY number DESC LIMIT 1")
    assert (row["actor"], json.loads(row["details"])["removed"]) == ("tidemark", 12)
    await changed(db, "DELETE FROM audit WHERE number = 21")
    assert told(await verify_chain(db)) == [("missing", 21, 21)]


async def test_what_was_done_in_the_last_30_days_stays_whatever_cutoff_is_asked_for(db: asyncpg.Connection) -> None:
    now = datetime.now(UTC)
    await record_all(db, entries(2, at=now - timedelta(days=31)))
    await record_all(db, entries(3, first=3, at=now - timedelta(days=29)))
    assert await db.fetchval("SELECT prune_audit('infinity', 100)") == 2
    assert await db.fetchval("SELECT prune_audit($1, 100)", now + timedelta(days=1)) == 0
    assert await db.fetchval("SELECT count(*) FROM audit WHERE act = 'replay'") == 3


async def test_rows_after_what_was_cut_off_cannot_be_deleted(db: asyncpg.Connection) -> None:
    await record_all(db, entries(4, at=NOW - timedelta(days=10)))
    await record_all(db, entries(2, first=5, at=NOW))
    assert await db.fetchval("SELECT prune_audit($1, 2)", NOW) == 2
    with pytest.raises(asyncpg.RaiseError, match="append-only"):
        await db.execute("DELETE FROM audit WHERE number = 3")


async def test_what_is_older_than_the_chain_is_chained_by_the_migration(servers: Servers) -> None:
    async with database(servers.operations_db_url) as url:
        await migrate(url, [path for path in FILES if path.name < "0008"], schema=SCHEMA)
        connection = await asyncpg.connect(url, server_settings={"search_path": f"{SCHEMA}, public"})
        await connection.execute(
            "INSERT INTO audit (actor, act, reason, projection, request_id, details)"
            " SELECT $1, 'activate', $1, 'summary', 'r-' || n, jsonb_build_object('asked_at', n::text, 'text', $1::text)"
            " FROM generate_series(1, 50) n WHERE nextval('audit_id_seq') > 0",
            ODD,
        )
        await migrate(url, FILES, schema=SCHEMA)
        assert await connection.fetchval("SELECT max(id) > 50 FROM audit"), "the ids have gaps"
        report = await verify_chain(connection)
        assert (report.intact, report.rows) == (True, 50)
        again = Entry(NOW, "ann", "activate", "", projection="summary", request_id="r-7", once="summary/activate/7/r-7")
        assert await record_all(connection, [again]) == 0, "a report that was recorded before stays recorded once"
        await connection.close()


async def test_the_program_verifies_prints_an_anchor_and_takes_it_back(
    db: asyncpg.Connection, operations_url: str
) -> None:
    environ = {"TIDEMARK_OPERATIONS_DB_URL": operations_url}
    await record_all(db, entries(6))
    good = await audit.json_of("verify", environ=environ)
    assert (good["intact"], good["rows"], good["findings"]) == (True, 6, [])
    assert good["anchor"] in await audit.said("verify", "--since", good["anchor"], environ=environ)
    await changed(db, "DELETE FROM audit WHERE number > 4", FORGE)
    assert (await audit.json_of("verify", environ=environ))["intact"]
    bad = await audit.json_of("verify", "--since", good["anchor"], environ=environ, code=1)
    assert [one["kind"] for one in bad["findings"]] == ["cut-off"]
    assert "row 5: the end was cut off" in await audit.said(
        "verify", "--since", good["anchor"], environ=environ, code=1
    )
    for wrong in ("", "7", "x:y", f"7:{'0' * 63}", f"-1:{'0' * 64}"):
        await audit.refused("verify", "--since", wrong, environ=environ, code=2, says="--since")
    nowhere = {"TIDEMARK_OPERATIONS_DB_URL": "postgresql://x@127.0.0.1:1/x"}
    await audit.refused("verify", environ=nowhere, code=3, says="PostgreSQL")


async def test_entries_are_found_by_actor_act_projection_request_and_time(
    db: asyncpg.Connection, operations_url: str
) -> None:
    environ = {"TIDEMARK_OPERATIONS_DB_URL": operations_url}
    await record_all(db, entries(6))
    await record(db, "bob", "discard", "why", letter_id=3, request_id="of bob")
    for filters, numbers in (
        ([], [7, 6, 5, 4, 3, 2, 1]),
        (["--actor", "bob"], [7]),
        (["--act", "replay", "--limit", "2"], [6, 5]),
        (["--projection", "summary", "--projection", "search"], [6, 3]),
        (["--letter", "3"], [7, 3]),
        (["--job", "4"], [4]),
        (["--request", "of bob"], [7]),
        (["--to", "2026-05-02"], [6, 5, 4, 3, 2, 1]),
        (["--from", "2026-05-02"], [7]),
    ):
        items = (await audit.json_of("list", *filters, environ=environ))["items"]
        assert [one["number"] for one in items] == numbers, filters
    assert "why" in await audit.said("list", environ=environ)
    for wrong in (["--from", "soon"], ["--letter", str(2**63)], ["--actor", "\x00"], ["--projection", "\x00"]):
        await audit.refused("list", *wrong, environ=environ, code=2, says=wrong[0])


async def test_the_audit_is_served_over_http_page_by_page(migrated: Settings, nobody: httpx.AsyncClient) -> None:
    assert (await nobody.get("/audit")).status_code == 401
    nobody.headers["Authorization"] = "Bearer a key for tests"
    connection = await asyncpg.connect(migrated.operations_db_url)
    about = f"of this test {datetime.now(UTC).isoformat()}"
    await record_all(connection, [Entry(NOW, about, "denied" if n % 2 else "replay", "") for n in range(5)])
    await connection.close()

    async def pages(path: str, **filters: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor = None
        while True:
            params = {"actor": about, "limit": 2, **filters} | ({"cursor": cursor} if cursor else {})
            response = await nobody.get(path, params=params)
            assert response.status_code == 200, response.text
            found += response.json()["items"]
            cursor = response.json()["next_cursor"]
            if cursor is None:
                return found

    every = await pages("/audit")
    assert [one["act"] for one in every] == ["replay", "denied", "replay", "denied", "replay"]
    assert [one["number"] for one in every] == sorted((one["number"] for one in every), reverse=True)
    assert all(len(one["hash"]) == 64 for one in every)
    assert await pages("/dead-letters/audit") == every
    assert len(await pages("/audit", act="denied")) == 2
    assert await pages("/audit", at_from="2026-05-02") == []
    assert len(await pages("/audit", at_to="2026-05-02T00:00:00Z")) == 5
    assert (await nobody.get("/audit?at_from=soon")).status_code == 400
    assert (await nobody.get("/audit?who=ann")).status_code == 400
