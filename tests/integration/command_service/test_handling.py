"""The unit of work on a real database: one transaction, one outcome, whoever else is at it."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import asyncpg

from command_service.handling.decision import Failed, Outcome, Result
from command_service.handling.handler import Handler
from command_service.handling.parsing import Command, read
from deploy.run.migrate import WRITE_MIGRATIONS
from shared.runtime.postgres import migrate
from shared.runtime.settings import Settings
from tests.integration.databases import database


def command(type_: str, key: str, data: dict[str, Any], **attributes: Any) -> Command:
    element = {"specversion": "1.0", "id": key, "source": "test", "type": type_, "data": data} | attributes
    (part,) = read(json.dumps(element).encode()).parts
    assert isinstance(part, Command), part
    return part


def register(key: str, customer: str, email: str | None = None) -> Command:
    data = {"customer_id": customer, "name": "Ann"} | ({"email": email} if email else {})
    return command("customers.register-customer", key, data)


def rename(key: str, customer: str, name: str, **attributes: Any) -> Command:
    return command("customers.rename-customer", key, {"name": name}, subject=customer, **attributes)


def verdicts(results: list[Result]) -> list[str]:
    found = []
    for result in results:
        assert isinstance(result, Outcome), result
        data = json.loads(result.body)["data"]
        found.append(data.get("code", f"v{data.get('version')}"))
    return found


async def test_state_events_outcome_and_outbox_are_written_together(
    handler: Handler, write_db: asyncpg.Connection
) -> None:
    assert verdicts(await handler.handle([register("k1", "c"), rename("k2", "c", "Bea")])) == ["v1", "v2"]
    assert await write_db.fetchval("SELECT version FROM streams WHERE stream = 'customers/c'") == 2
    events = await write_db.fetch("SELECT version, envelope::text FROM events ORDER BY version")
    outbox = await write_db.fetch("SELECT envelope FROM outbox ORDER BY id")
    assert [row["version"] for row in events] == [1, 2]
    assert [row["envelope"] for row in outbox] == [row["envelope"] for row in events]
    assert await write_db.fetchval("SELECT count(*) FROM commands") == 2


async def test_the_same_command_again_gets_the_same_bytes_rejections_included(
    handler: Handler, write_db: asyncpg.Connection
) -> None:
    commands = [register("k1", "c"), rename("k2", "nobody", "Bea")]
    first = await handler.handle(commands)
    assert verdicts(first) == ["v1", "customer-not-found"]
    await handler.handle([register("k3", "nobody")])
    assert await handler.handle(commands) == first
    assert await write_db.fetchval("SELECT count(*) FROM events") == 2


async def test_an_id_used_for_another_body_is_refused_and_its_first_outcome_stays(handler: Handler) -> None:
    first = await handler.handle([register("k1", "c")])
    assert verdicts(await handler.handle([register("k1", "d")])) == ["idempotency-key-reused"]
    assert await handler.handle([register("k1", "c")]) == first


async def test_fifty_at_once_with_the_same_expected_version_have_one_winner(
    handler: Handler, write_db: asyncpg.Connection, migrated: Settings
) -> None:
    await handler.handle([register("k0", "c")])
    others = [Handler(migrated.write_db_url) for _ in range(5)]
    try:
        results = await asyncio.gather(
            *(others[n % 5].handle([rename(f"k{n}", "c", f"n{n}", expectedversion=1)]) for n in range(1, 51))
        )
    finally:
        for other in others:
            await other.close()
    counts = Counter(verdict for result in results for verdict in verdicts(result))
    assert counts == {"v2": 1, "version-conflict": 49}
    assert await write_db.fetchval("SELECT count(*) FROM events") == 2


async def test_one_command_sent_to_several_workers_at_once_has_one_effect(
    handler: Handler, write_db: asyncpg.Connection, migrated: Settings
) -> None:
    others = [Handler(migrated.write_db_url) for _ in range(4)]
    try:
        results = await asyncio.gather(*(other.handle([register("k", "c")]) for other in others for _ in range(5)))
    finally:
        for other in others:
            await other.close()
    assert len({result[0].body for result in results if isinstance(result[0], Outcome)}) == 1
    assert await write_db.fetchval("SELECT count(*) FROM events") == 1


async def test_versions_have_no_holes_when_batches_collide(
    handler: Handler, write_db: asyncpg.Connection, migrated: Settings
) -> None:
    await handler.handle([register(f"r{n}", f"c{n}") for n in range(5)])
    others = [Handler(migrated.write_db_url) for _ in range(4)]
    try:
        results = await asyncio.gather(
            *(
                other.handle([rename(f"{worker}-{batch}-{n}", f"c{n}", f"{worker}{batch}") for n in range(5)])
                for batch in range(6)
                for worker, other in enumerate(others)
            )
        )
    finally:
        for other in others:
            await other.close()
    assert all(verdict.startswith("v") for result in results for verdict in verdicts(result))
    rows = await write_db.fetch("SELECT stream, array_agg(version ORDER BY version) AS versions FROM events GROUP BY 1")
    assert all(row["versions"] == list(range(1, 26)) for row in rows)
    in_outbox = await write_db.fetch(
        "SELECT stream, array_agg((envelope::json ->> 'streamversion')::int ORDER BY id) AS versions FROM outbox GROUP BY 1"
    )
    assert all(row["versions"] == list(range(1, 26)) for row in in_outbox)


async def test_an_address_goes_to_one_of_those_who_race_for_it(handler: Handler, migrated: Settings) -> None:
    others = [Handler(migrated.write_db_url) for _ in range(5)]
    try:
        results = await asyncio.gather(
            *(other.handle([register(f"k{n}", f"c{n}", "x@example.org")]) for n, other in enumerate(others))
        )
    finally:
        for other in others:
            await other.close()
    counts = Counter(verdict for result in results for verdict in verdicts(result))
    assert counts == {"v1": 1, "email-already-taken": 4}


async def test_a_fault_in_one_command_fails_no_neighbour(handler: Handler, write_db: asyncpg.Connection) -> None:
    await handler.handle([register("k1", "bad"), register("k2", "good")])
    await write_db.execute("UPDATE streams SET state = '{\"name\": 7}' WHERE stream = 'customers/bad'")
    await write_db.execute("UPDATE events SET envelope = '{}' WHERE stream = 'customers/bad'")
    results = await handler.handle([rename("k3", "bad", "Bea"), rename("k4", "good", "Bea")])
    assert isinstance(results[0], Failed)
    assert verdicts(results[1:]) == ["v2"]
    assert await write_db.fetchval("SELECT count(*) FROM commands WHERE command_id = 'k3'") == 0


async def test_a_lost_connection_is_waited_out_and_counts_for_nothing(
    handler: Handler, write_db: asyncpg.Connection
) -> None:
    await handler.handle([register("k1", "c")])
    await write_db.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )
    assert verdicts(await handler.handle([rename("k2", "c", "Bea")])) == ["v2"]


async def test_every_statement_of_the_write_side_fits_the_schema(write_db: asyncpg.Connection) -> None:
    from command_service.handling import event_store, outbox, pending, state_replay
    from command_service.publishing import resend

    statements = {
        f"{module.__name__}.{name}": text
        for module in (event_store, outbox, state_replay, resend, pending)
        for name, text in vars(module).items()
        if name.isupper() and isinstance(text, str) and " " in text.strip()
    }
    assert len(statements) >= 20
    for text in statements.values():
        await write_db.prepare(text)


class Trying(Handler):
    """Counts what it has tried in vain."""

    failures = 0

    async def _unit_of_work(self, commands: Sequence[Command]) -> list[Result]:
        try:
            return await super()._unit_of_work(commands)
        except Exception:
            self.failures += 1
            raise


async def test_commands_wait_for_migrations_that_have_not_run_yet(settings: Settings) -> None:
    """The first that is missing, and every one after it that they need."""
    async with database(settings.write_db_url) as url:
        handler = Trying(url)
        handling = asyncio.create_task(handler.handle([register("k1", "c")]))
        try:
            for name in (
                "0001_event_store.sql",
                "0002_heads.sql",
                "0003_epochs.sql",
                "0005_pre_commands_by_source.sql",
                "0006_pre_undecided_commands.sql",
                "0007_pre_state_versions.sql",
                "0009_pre_scheduled_commands.sql",
                "0012_pre_retention.sql",
            ):
                before = handler.failures
                async with asyncio.timeout(20):
                    while handler.failures <= before:  # noqa: ASYNC110 - it tries by itself
                        await asyncio.sleep(0.01)
                assert "does not exist" in (handler.trouble or "")
                assert not handling.done()
                await migrate(url, [WRITE_MIGRATIONS / name])
            assert verdicts(await handling) == ["v1"]
            assert handler.trouble is None
        finally:
            handling.cancel()
            await handler.close()
