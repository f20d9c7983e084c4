"""Personal data on the write side: sealed wherever they are stored, opened for decisions, and gone once the key is destroyed."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import aio_pika
import asyncpg
import pytest

from command_service.handling.decision import Outcome, Result
from command_service.handling.event_store import FREE_CLAIMS
from command_service.handling.handler import Handler
from command_service.handling.parsing import Command, read
from command_service.privacy.eraser import Eraser
from command_service.privacy.personal_data import PERSONAL_CLAIMS
from command_service.scheduling import scheduled_commands
from command_service.scheduling.scheduled_commands import Waiting
from deploy.erasure.findings import CLAIMS
from deploy.erasure.sealing_history import seal
from shared.contracts.registry import event_data
from shared.messages.control import Acted, Request
from shared.messaging import topology
from shared.messaging.broker import Publisher
from shared.privacy.key_database import KeyDatabase
from shared.privacy.key_database import migrate as migrate_keys
from shared.privacy.sealing import KeyMissingError, opened
from shared.runtime.settings import Settings
from tests.integration.databases import database

ROOT = Path(__file__).parents[3]
AT_ONCE = timedelta(0)
TABLES = ("streams", "events", "outbox", "commands", "claims", "scheduled_commands", "undecided_commands", "erasures")


@pytest.fixture
async def keys(migrated: Settings) -> AsyncIterator[KeyDatabase]:
    made = KeyDatabase(migrated.keys_db_url)
    yield made
    await made.close()


@pytest.fixture
async def eraser(migrated: Settings, write_db: asyncpg.Connection, keys: KeyDatabase) -> AsyncIterator[Eraser]:
    await write_db.execute("TRUNCATE erasures, scheduled_commands")
    publisher = Publisher(migrated.rabbitmq_url, "test")
    made = Eraser(migrated.write_db_url, KeyDatabase(migrated.keys_db_url), publisher)
    made._reconciled_at = float("inf")
    yield made
    await made.close()
    await publisher.close()


@pytest.fixture
def own_id() -> str:
    """Nobody's yet: the key database is shared, and remembers who is erased."""
    return f"c-{uuid4()}"


def command(type_: str, data: dict[str, Any], subject: str | None = None, **more: Any) -> Command:
    envelope = {"id": str(uuid4()), "source": "test", "type": type_, "data": data, **more}
    [part] = read(json.dumps(envelope | ({"subject": subject} if subject else {})).encode()).parts
    assert isinstance(part, Command)
    return part


def register(own_id: str, name: str, email: str | None = None) -> Command:
    return command("customers.register-customer", {"customer_id": own_id, "name": name, "email": email})


def erase(own_id: str) -> Command:
    return command("privacy.erase-subject", {"subject": f"customers/{own_id}", "reason": "asked for it"})


def codes(results: Sequence[Result]) -> list[str]:
    found = []
    for result in results:
        assert isinstance(result, Outcome), result
        data = json.loads(result.body)["data"]
        found.append(data.get("code", f"v{data.get('version')}"))
    return found


async def everything(connection: asyncpg.Connection) -> str:
    """Every row of every table that has what commands bring, as text."""
    rows = [row for table in TABLES for row in await connection.fetch(f"SELECT t::text AS row FROM {table} AS t")]  # noqa: S608
    return "\n".join(row["row"] for row in rows)


async def test_no_text_of_a_person_is_stored_in_clear_and_decisions_see_it(
    handler: Handler, write_db: asyncpg.Connection, own_id: str, keys: KeyDatabase
) -> None:
    name, email, review = f"Name {uuid4()}", f"{uuid4()}@example.org", f"Review {uuid4()}"
    product: dict[str, Any] = {
        "product_id": f"p-{own_id}",
        "name": "Tea",
        "category": "drinks",
        "price": 1,
        "currency": "EUR",
    }
    results = await handler.handle(
        [
            register(own_id, name, email),
            command("customers.rename-customer", {"name": name}, own_id),
            command("catalog.create-product", product),
            command(
                "catalog.add-review",
                {"review_id": "r", "rating": 5, "text": review, "customer_id": own_id},
                product["product_id"],
            ),
        ]
    )
    assert codes(results) == ["v1", "v1", "v1", "v2"]
    again = await handler.handle([command("customers.rename-customer", {"name": name}, own_id)])
    assert codes(again) == ["v1"], "the stored state was opened: the name is what it is already"
    stored = await everything(write_db)
    assert not [text for text in (name, email, review) if text in stored]
    assert "tmk1:" in stored
    envelope = json.loads(
        await write_db.fetchval("SELECT envelope FROM events WHERE stream = $1", f"customers/{own_id}")
    )
    data: Any = event_data(envelope["type"], 1, envelope["data"])
    found = opened(data, f"customers/{own_id}", await keys.keys([f"customers/{own_id}"]))
    assert (found.name, found.email) == (name, email)


async def test_an_address_is_unique_as_a_hash_and_free_again_after_the_erasure(
    handler: Handler, eraser: Eraser, own_id: str
) -> None:
    email = f"{uuid4()}@example.org"
    other = f"{own_id}-other"
    assert codes(await handler.handle([register(own_id, "Ann", email)])) == ["v1"]
    assert codes(await handler.handle([register(other, "Bea", email.upper())])) == ["email-already-taken"]
    assert codes(await handler.handle([erase(own_id)])) == ["v1"]
    await eraser.round(settle=AT_ONCE)
    assert codes(await handler.handle([register(other, "Bea", email.upper())])) == ["v1"]


async def test_an_address_that_an_older_version_has_recorded_in_clear_stays_taken(
    write_db: asyncpg.Connection, migrated: Settings, own_id: str
) -> None:
    email = f"{uuid4()}@example.org"
    await write_db.execute("INSERT INTO claims VALUES ('customer-email', $1, 'customers/older')", email)
    handler = Handler(migrated.write_db_url, migrated.keys_db_url)
    try:
        assert codes(await handler.handle([register(own_id, "Ann", email)])) == ["email-already-taken"]
    finally:
        await handler.close()
    assert email not in await everything(write_db)


async def test_nothing_of_an_erased_person_is_taken_and_nothing_else_is_refused(
    handler: Handler, eraser: Eraser, own_id: str, keys: KeyDatabase
) -> None:
    await handler.handle([register(own_id, "Ann"), erase(own_id)])
    await eraser.round(settle=AT_ONCE)
    assert not await keys.has_key(f"customers/{own_id}")
    refused = [
        register(own_id, "Ann"),
        command("customers.rename-customer", {"name": "Bea"}, own_id),
        command("customers.change-email", {"email": "bea@example.org"}, own_id),
    ]
    assert codes(await handler.handle(refused)) == ["subject-erased"] * 3
    assert codes(await handler.handle([command("customers.change-region", {"region": "North"}, own_id)])) == ["v2"]
    assert codes(await handler.handle([erase(own_id)])) == ["v1"], "erased once and for ever"
    assert not await keys.has_key(f"customers/{own_id}")


async def test_who_is_no_person_cannot_be_erased(handler: Handler, write_db: asyncpg.Connection) -> None:
    wrong = command("privacy.erase-subject", {"subject": "orders/o-1"})
    assert codes(await handler.handle([wrong])) == ["not-a-person"]


@pytest.mark.parametrize("erased", [True, False])
async def test_what_an_older_version_has_stored_in_clear_is_sealed_or_in_the_erased_form(
    handler: Handler, eraser: Eraser, write_db: asyncpg.Connection, own_id: str, migrated: Settings, *, erased: bool
) -> None:
    name, email, review = f"Name {uuid4()}", f"{uuid4()}@example.org", f"Review {uuid4()}"
    stream, product = f"customers/{own_id}", f"products/p-{own_id}"
    registered = {"customer_id": own_id, "name": name, "email": email, "registered_at": "2026-01-01T00:00:00Z"}
    added = {
        "product_id": f"p-{own_id}",
        "review_id": "r",
        "rating": 5,
        "text": review,
        "customer_id": own_id,
        "review_count": 1,
        "rating_sum": 5,
        "added_at": "2026-01-01T00:00:00Z",
    }
    for at, type_, data in (
        (stream, "customers.customer-registered", registered),
        (product, "catalog.review-added", added),
    ):
        envelope = {"id": f"{at}@1", "source": "s", "type": type_, "subject": at, "data": data, "streamversion": 1}
        body = json.dumps(envelope | {"schemaversion": 1, "time": "2026-01-01T00:00:00Z"})
        await write_db.execute("INSERT INTO events (stream, version, envelope) VALUES ($1, 1, $2)", at, body)
    state = json.dumps({"customer_id": own_id, "name": name, "email": email, "region": None})
    await write_db.execute("INSERT INTO streams VALUES ($1, 'customers', 1, $2, now(), 2)", stream, state)
    await write_db.execute("UPDATE sealing SET done_at = NULL")
    if erased:
        await handler.handle([erase(own_id)])
        await eraser.round(settle=AT_ONCE)
    assert await seal(migrated, lambda _: None) == 2
    assert await seal(migrated, lambda _: None) == 0
    assert await write_db.fetchval("SELECT done_at IS NOT NULL FROM sealing")
    stored = await everything(write_db)
    assert not [text for text in (name, email, review) if text in stored]
    assert ('"[erased]"' in stored) == erased
    assert codes(await handler.handle([command("customers.change-region", {"region": "North"}, own_id)])) == ["v2"]


async def test_an_event_takes_sealed_texts_and_no_other_change(
    write_db: asyncpg.Connection, handler: Handler, own_id: str
) -> None:
    await handler.handle([register(own_id, "Ann")])
    stream = f"customers/{own_id}"
    envelope = json.loads(await write_db.fetchval("SELECT envelope FROM events WHERE stream = $1", stream))
    for wrong in (
        envelope | {"data": envelope["data"] | {"name": "Bea"}},
        envelope | {"data": envelope["data"] | {"email": "[erased]"}},
        envelope | {"type": "customers.customer-renamed"},
    ):
        with pytest.raises(asyncpg.RaiseError):
            await write_db.execute("SELECT replace_texts($1, 1, $2)", stream, json.dumps(wrong))
    right = envelope | {"data": envelope["data"] | {"name": "[erased]"}}
    assert await write_db.fetchval("SELECT replace_texts($1, 1, $2)", stream, json.dumps(right))


async def test_a_scheduled_command_is_kept_sealed_and_decided_as_it_was_sent(
    handler: Handler, write_db: asyncpg.Connection, eraser: Eraser, own_id: str
) -> None:
    name, email = f"Name {uuid4()}", f"{uuid4()}@example.org"
    first, second = register(own_id, name, email), register(f"{own_id}-2", name)
    due = datetime(2100, 1, 1, tzinfo=UTC)
    await handler.schedule([Waiting(first, due), Waiting(second, due)])
    stored = await everything(write_db)
    assert name not in stored
    assert email not in stored
    assert codes(await handler.handle([erase(f"{own_id}-2")])) == ["v1"]
    await eraser.round(settle=AT_ONCE)
    messages = []
    for one in (first, second):
        kept = await scheduled_commands.scheduled(write_db, one.key)
        assert kept is not None
        messages.append(await handler.opened(read(kept.due().body)))
    parts = [part for message in messages for part in message.parts if isinstance(part, Command)]
    assert parts[0].digest == first.digest
    assert codes(await handler.handle(parts)) == ["v1", "subject-erased"]
    assert not await write_db.fetchval("SELECT count(*) FROM scheduled_commands")


async def test_each_list_of_the_erased_restores_what_the_other_has_lost(
    handler: Handler, eraser: Eraser, write_db: asyncpg.Connection, own_id: str, keys: KeyDatabase, migrated: Settings
) -> None:
    subject = f"customers/{own_id}"
    await handler.handle([register(own_id, "Ann"), erase(own_id)])
    await eraser.round(settle=AT_ONCE)
    admin = await asyncpg.connect(migrated.keys_db_url)
    try:
        await admin.execute("DELETE FROM erased_subjects WHERE subject = $1", subject)
        await admin.execute("INSERT INTO subject_keys VALUES ($1, $2)", subject, b"k" * 32)
        await eraser.reconcile()
        assert subject in await keys.erased()
        assert not await keys.has_key(subject)
    finally:
        await admin.close()


async def test_a_key_that_is_lost_fails_its_own_command_and_no_other(
    handler: Handler, write_db: asyncpg.Connection, own_id: str, migrated: Settings
) -> None:
    await handler.handle([register(own_id, "Ann")])
    admin = await asyncpg.connect(migrated.keys_db_url)
    await admin.execute("DELETE FROM subject_keys WHERE subject = $1", f"customers/{own_id}")
    await admin.close()
    lost, fine = await handler.handle(
        [command("customers.rename-customer", {"name": "Bea"}, own_id), register(f"{own_id}-2", "Cleo")]
    )
    assert isinstance(getattr(lost, "error", None), KeyMissingError)
    assert codes([fine]) == ["v1"]


async def test_what_is_claimed_after_the_erasure_is_freed_when_it_is_decided_once_more(
    handler: Handler, write_db: asyncpg.Connection, own_id: str
) -> None:
    await handler.handle([erase(own_id)])
    await write_db.execute("INSERT INTO claims VALUES ('customer-email', 'hmac:late', $1)", f"customers/{own_id}")
    assert codes(await handler.handle([erase(own_id)])) == ["v1"]
    assert not await write_db.fetchval("SELECT count(*) FROM claims WHERE stream = $1", f"customers/{own_id}")


async def test_an_outage_of_the_key_database_is_waited_for_and_fails_no_command(
    write_db: asyncpg.Connection, migrated: Settings, own_id: str
) -> None:
    async with database(migrated.keys_db_url) as url:
        handler = Handler(migrated.write_db_url, url)
        handling = asyncio.create_task(handler.handle([register(own_id, "Ann")]))
        try:
            async with asyncio.timeout(60):
                while "the key database" not in (handler.trouble or ""):  # noqa: ASYNC110 - it tries by itself
                    await asyncio.sleep(0.01)
            assert not handling.done()
            assert not await write_db.fetchval("SELECT count(*) FROM undecided_commands")
            await migrate_keys(url)
            assert codes(await handling) == ["v1"]
        finally:
            handling.cancel()
            await handler.close()


async def test_an_erasure_that_was_interrupted_after_the_key_was_destroyed_is_completed(
    handler: Handler, eraser: Eraser, write_db: asyncpg.Connection, own_id: str, keys: KeyDatabase
) -> None:
    subject = f"customers/{own_id}"
    await handler.handle([register(own_id, "Ann"), erase(own_id)])
    await keys.destroy(subject)  # and then the process was killed
    assert await write_db.fetchval("SELECT erased_at FROM erasures WHERE subject = $1", subject) is None
    await eraser.round(settle=timedelta(hours=1))
    assert await write_db.fetchval("SELECT erased_at FROM erasures WHERE subject = $1", subject) is not None
    assert await write_db.fetchval("SELECT settled_at FROM erasures WHERE subject = $1", subject) is None


async def test_every_erasure_is_reported_to_the_audit_once_with_who_asked_for_it_and_why(
    handler: Handler, eraser: Eraser, own_id: str, migrated: Settings, keys: KeyDatabase
) -> None:
    subject = f"customers/{own_id}"
    async with await aio_pika.connect(migrated.rabbitmq_url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(topology.CHANGES, topology.acted_key(topology.COMMANDS))
        data = {"subject": subject, "reason": "asked for it"}
        asked = command("privacy.erase-subject", data, actor="shop", behind="ann")
        await handler.handle([register(own_id, "Ann"), asked])
        await eraser.round(settle=timedelta(hours=1))
        message = await queue.get(timeout=30)
        assert message is not None
        acted = Request[Acted].model_validate_json(message.body).data
        assert (acted.act, acted.subject, acted.actor, acted.reason) == (
            "erase-subject",
            subject,
            "shop",
            "asked for it",
        )
        assert acted.details == {"behind": "ann"}
        assert await keys.keys([subject]) == {subject: None}, "it is reported once the key is gone"
        await handler.handle([erase(own_id)])
        await eraser.round(settle=AT_ONCE)
        assert await queue.get(fail=False, timeout=1) is None, "nobody is erased twice"


def test_statements_spell_out_the_scopes_of_personal_claims_as_their_index_does() -> None:
    spelt = "IN (" + ", ".join(f"'{scope}'" for scope in sorted(PERSONAL_CLAIMS)) + ")"
    index = (ROOT / "command_service/migrations/0010_pre_erasures.sql").read_text()
    assert all(f"scope {spelt}" in text for text in (FREE_CLAIMS, CLAIMS, index))
