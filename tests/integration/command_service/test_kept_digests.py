"""What is kept to tell a command from another one under its key says nothing about a person, before and after an erasure."""

import hashlib
import json
from typing import Any, Final
from uuid import uuid4

import asyncpg
import pytest

from command_service.handling.decision import Outcome
from command_service.handling.handler import Handler
from command_service.handling.parsing import Command, read
from command_service.privacy.personal_data import KEYED, NOTHING
from command_service.scheduling.scheduled_commands import Waiting
from deploy.erasure.sealing_history import seal
from shared.privacy.key_database import KeyDatabase
from shared.runtime.settings import Settings

RENAME: Final = "customers.rename-customer"
REUSED: Final = "idempotency-key-reused"
KEPT: Final = "SELECT body_hash FROM commands WHERE command_id = $1"


@pytest.fixture
def own_id() -> str:
    return f"c-{uuid4()}"


def command(
    type_: str, data: dict[str, Any], subject: str | None = None, id_: str | None = None, **more: Any
) -> Command:
    envelope = {"id": id_ or str(uuid4()), "source": "test", "type": type_, "data": data, **more}
    [part] = read(json.dumps(envelope | ({"subject": subject} if subject else {})).encode()).parts
    assert isinstance(part, Command)
    return part


async def outcome(handler: Handler, sent: Command) -> dict[str, Any]:
    [found] = await handler.handle([sent])
    assert isinstance(found, Outcome)
    return {"body": found.body, **json.loads(found.body)["data"]}


def register(own_id: str, name: str, id_: str) -> Command:
    return command("customers.register-customer", {"customer_id": own_id, "name": name}, id_=id_)


async def erase(handler: Handler, migrated: Settings, own_id: str) -> None:
    assert "code" not in await outcome(handler, command("privacy.erase-subject", {"subject": f"customers/{own_id}"}))
    keys = KeyDatabase(migrated.keys_db_url)
    await keys.destroy(f"customers/{own_id}")
    await keys.close()


async def test_the_same_command_gets_its_outcome_and_another_is_refused_whoever_it_is_about(
    handler: Handler, write_db: asyncpg.Connection, own_id: str
) -> None:
    def sent(text: str, id_: str) -> list[Command]:
        return [
            register(own_id, text, f"{id_}-1"),
            command(RENAME, {"name": text, "unknown": 1}, own_id, f"{id_}-2"),  # not valid
            command(RENAME, {"name": text}, "no/id\x00", f"{id_}-3"),
            command(RENAME, {"name": text}, "x" * 100_000, f"{id_}-4"),
            command(RENAME, {"name": text}, own_id, f"{id_}-5", expectedversion="one"),
            command("customers.rename-custmer", {"name": text}, own_id, f"{id_}-6"),
            command("catalog.add-review", {"review_id": "r", "rating": 5, "text": text}, "p-1", f"{id_}-7"),
        ]

    id_, text = str(uuid4()), f"Name {uuid4()}"
    first = [await outcome(handler, each) for each in sent(text, id_)]
    for each, before in zip(sent(text, id_), first, strict=True):
        assert await outcome(handler, each) == before
        kept = await write_db.fetchval(KEPT, each.envelope.id)
        assert kept.startswith(KEYED)
        assert each.digest not in kept, "anybody could find out the text by trying"
    for each in sent("Bea", id_):
        refusal = await outcome(handler, each)
        assert refusal["code"] == REUSED
        assert each.digest.hex()[:16] not in refusal["body"].decode()


async def test_what_has_no_personal_fields_is_kept_as_it_was(handler: Handler, write_db: asyncpg.Connection) -> None:
    pay = command("orders.pay-order", {"amount": 1}, "o-1")
    await outcome(handler, pay)
    assert await write_db.fetchval(KEPT, pay.envelope.id) == pay.digest


async def test_of_an_erased_person_the_first_outcome_stays_and_what_is_kept_is_nothing(
    handler: Handler, migrated: Settings, write_db: asyncpg.Connection, own_id: str
) -> None:
    id_, late = str(uuid4()), str(uuid4())
    first = await outcome(handler, register(own_id, "Ann", id_))
    before = await write_db.fetchval(KEPT, id_)
    await erase(handler, migrated, own_id)
    assert await outcome(handler, register(own_id, "Ann", id_)) == first
    assert await outcome(handler, register(own_id, "Bea", id_)) == first, "nobody can tell them apart any more"
    other = await outcome(handler, command("orders.pay-order", {"amount": 1}, "o-1", id_))
    assert other["code"] == REUSED, "this is another command all the same"
    refused = await outcome(handler, register(own_id, "Ann", late))
    assert refused["code"] == "subject-erased"
    assert await outcome(handler, register(own_id, "Ann", late)) == refused
    assert await write_db.fetchval(KEPT, late) == NOTHING
    assert await write_db.fetchval(KEPT, id_) == before


@pytest.mark.parametrize("erased", [False, True])
async def test_what_an_older_version_has_kept_is_put_under_a_key_and_means_the_same(
    handler: Handler, migrated: Settings, write_db: asyncpg.Connection, own_id: str, *, erased: bool
) -> None:
    id_ = str(uuid4())
    sent = register(own_id, "Ann", id_)
    first = await outcome(handler, sent)
    await write_db.execute("UPDATE commands SET body_hash = $2 WHERE command_id = $1", id_, sent.digest)
    assert await outcome(handler, sent) == first
    assert (await outcome(handler, register(own_id, "Bea", id_)))["code"] == REUSED
    if erased:
        await erase(handler, migrated, own_id)
    await seal(migrated, lambda count: None)
    kept = await write_db.fetchval(KEPT, id_)
    assert kept.startswith(KEYED)
    assert hashlib.sha256(sent.digest).digest() not in kept
    await seal(migrated, lambda count: None)
    assert await write_db.fetchval(KEPT, id_) == kept, "once"
    assert await outcome(handler, sent) == first
    if not erased:
        assert (await outcome(handler, register(own_id, "Bea", id_)))["code"] == REUSED


async def test_a_scheduled_command_of_a_person_can_be_moved_and_not_replaced(
    handler: Handler, write_db: asyncpg.Connection, own_id: str
) -> None:
    await outcome(handler, register(own_id, "Ann", str(uuid4())))
    id_ = str(uuid4())
    for old in (False, True):
        for at in ("2090-01-01T00:00:00Z", "2091-01-01T00:00:00Z"):
            sent = command(RENAME, {"name": "Bea"}, own_id, id_, notbefore=at)
            [result] = await handler.handle([sent])
            assert not isinstance(result, Outcome)
            assert sent.envelope.notbefore is not None
            await handler.schedule([Waiting(sent, sent.envelope.notbefore)])
            row = await write_db.fetchrow("SELECT due_at, body_hash FROM scheduled_commands WHERE command_id = $1", id_)
            assert row is not None
            assert row["due_at"] == sent.envelope.notbefore
            assert row["body_hash"].startswith(KEYED)
        other = command(RENAME, {"name": "Cea"}, own_id, id_, notbefore="2092-01-01T00:00:00Z")
        assert (await outcome(handler, other))["code"] == REUSED
        if not old:  # as an older version has kept it
            await write_db.execute(
                "UPDATE scheduled_commands SET body_hash = $2 WHERE command_id = $1", id_, sent.digest
            )
    decided = await outcome(handler, command(RENAME, {"name": "Bea"}, own_id, id_))
    assert decided["version"] == 2
    assert not await write_db.fetchval("SELECT count(*) FROM scheduled_commands WHERE command_id = $1", id_)
