"""The idempotency key is (source, id): on a real database, also one that older code has filled, and by its index alone."""

import asyncio
import json
import re
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest

from command_service.handling import event_store
from command_service.handling.decision import Outcome, Result
from command_service.handling.handler import Handler
from command_service.handling.parsing import Command, read
from command_service.http.outcome_waiting import OutcomeReader, StoredOutcome
from deploy.run.migrate import WRITE_MIGRATIONS
from shared.runtime.postgres import KEY_LOOKUPS, migrate
from shared.runtime.settings import Settings
from tests.integration.databases import database

# As older code wrote a command.
OLD_INSERT = """
INSERT INTO commands (command_id, command_type, body_hash, outcome, decided_at)
SELECT command_id, command_type, body_hash, outcome::json, $5
FROM unnest($1::text[], $2::text[], $3::bytea[], $4::text[]) AS new (command_id, command_type, body_hash, outcome)
"""
OLD_OUTCOME = (
    '{ "id":"pay-1/outcome",  "type":"command.accepted", "source":"tidemark/command-service", "data":{"version":1} }'
)


def register(key: str, customer: str, source: str = "shop") -> Command:
    data = {"customer_id": customer, "name": "Ann"}
    element = {"specversion": "1.0", "id": key, "source": source, "type": "customers.register-customer", "data": data}
    (part,) = read(json.dumps(element).encode()).parts
    assert isinstance(part, Command), part
    return part


def body(result: Result) -> dict[str, Any]:
    assert isinstance(result, Outcome), result
    found: dict[str, Any] = json.loads(result.body)
    return found


async def test_one_id_from_two_sources_is_two_commands_in_one_batch_and_in_two(handler: Handler) -> None:
    first, second = await handler.handle([register("k", "a", "shop"), register("k", "b", "billing")])
    third = (await handler.handle([register("k", "c", "crm")]))[0]
    answers = [body(result) for result in (first, second, third)]
    assert [answer["data"]["stream"] for answer in answers] == ["customers/a", "customers/b", "customers/c"]
    assert len({answer["id"] for answer in answers}) == 3
    again = [register("k", "c", "crm"), register("k", "a", "shop"), register("k", "b", "billing")]
    assert await handler.handle(again) == [third, first, second]


async def test_what_races_for_one_key_has_one_outcome_and_other_sources_do_not_mind(
    handler: Handler, write_db: asyncpg.Connection, migrated: Settings
) -> None:
    others = [Handler(migrated.write_db_url) for _ in range(3)]
    commands = [register("k", f"c-{n % 3}", f"source-{n % 3}") for n in range(24)]
    try:
        results = await asyncio.gather(*(others[n % 3].handle([command]) for n, command in enumerate(commands)))
    finally:
        for other in others:
            await other.close()
    by_source: dict[str, set[bytes]] = {}
    for command, [result] in zip(commands, results, strict=True):
        assert isinstance(result, Outcome)
        by_source.setdefault(command.envelope.source, set()).add(result.body)
    assert [len(outcomes) for outcomes in by_source.values()] == [1, 1, 1]
    assert await write_db.fetchval("SELECT count(*) FROM events") == 3


async def test_what_older_code_decided_keeps_its_outcome_byte_for_byte_whoever_sends_it(settings: Settings) -> None:
    async with database(settings.write_db_url) as url:
        await migrate(url, sorted(WRITE_MIGRATIONS.glob("000[1-4]*.sql")))
        sent, later = register("pay-1", "c"), register("pay-2", "d")
        connection = await asyncpg.connect(url)
        await insert_as_before(connection, [sent])
        await migrate(url, sorted(WRITE_MIGRATIONS.glob("*.sql")))
        await insert_as_before(connection, [later])  # an older worker that still runs
        handler, outcomes = Handler(url), OutcomeReader(url, settings.rabbitmq_url)
        try:
            for source in ("shop", "billing", "tidemark/http"):
                for id_, customer in (("pay-1", "c"), ("pay-2", "d")):
                    [result] = await handler.handle([register(id_, customer, source)])
                    assert isinstance(result, Outcome)
                    assert (result.body.decode(), result.accepted) == (OLD_OUTCOME, True)
                    assert await outcomes.read((source, id_)) == StoredOutcome(
                        OLD_OUTCOME.encode(), register(id_, customer).digest, ""
                    )
                [other] = await handler.handle([register("pay-1", "another", source)])
                assert body(other)["data"]["code"] == "idempotency-key-reused"
            assert await outcomes.sources("pay-1") == [""]
            [new] = await handler.handle([register("pay-3", "c", "shop")])
            assert body(new)["commandsource"] == "shop"
            assert await connection.fetchval("SELECT count(*) FROM commands") == 3
        finally:
            await handler.close()
            await outcomes.close()
            await connection.close()


async def insert_as_before(connection: asyncpg.Connection, commands: Sequence[Command]) -> None:
    envelopes = [command.envelope for command in commands]
    await connection.execute(
        OLD_INSERT,
        [envelope.id for envelope in envelopes],
        [envelope.type for envelope in envelopes],
        [command.digest for command in commands],
        [OLD_OUTCOME for _ in commands],
        await connection.fetchval("SELECT now()"),
    )


@pytest.mark.parametrize("statement", ["COMMANDS_BY_KEY", "INSERT_COMMANDS", "OUTCOME", "SOURCES"])
@pytest.mark.parametrize("undecided", [0, 5000])
async def test_commands_are_found_by_their_keys_in_a_large_table(
    write_db: asyncpg.Connection, statement: str, undecided: int
) -> None:
    async with write_db.transaction():
        await write_db.execute(
            "INSERT INTO commands SELECT n, 't', '', '{}', now(), 'shop' FROM generate_series(1, 20000) n"
        )
        await write_db.execute(
            "INSERT INTO undecided_commands SELECT 'u' || n, 'shop', 't', 'handler-failed' FROM generate_series(1, $1) n",
            undecided,
        )
        await write_db.execute("ANALYZE commands, undecided_commands")
        keys, ones = [str(n) for n in range(20001, 40000, 100)], ["x"] * 200
        now = await write_db.fetchval("SELECT now()")
        arguments: dict[str, list[Any]] = {
            "COMMANDS_BY_KEY": [ones, keys],
            "INSERT_COMMANDS": [keys, ones, ones, [b""] * 200, ["{}"] * 200, now],
            "OUTCOME": ["1", "shop"],
            "SOURCES": ["1"],
        }
        for name, value in KEY_LOOKUPS.items():
            await write_db.execute("SELECT set_config($1, $2, true)", name, value)
        plan = await write_db.fetch("EXPLAIN " + getattr(event_store, statement), *arguments[statement])
        text = "\n".join(row[0] for row in plan)
        assert "Seq Scan" not in text, text
        assert 0 < len(re.findall(r"Index (Only )?Scan", text)) == text.count("Index Cond: ("), text
        await write_db.execute("DELETE FROM commands")
        await write_db.execute("DELETE FROM undecided_commands")
