"""Every statement of process managers is valid against their schema, and those that run all the time use an index."""

from typing import Any

import asyncpg
import pytest

from projectors.process_runtime import outcomes, outgoing, rows, timers
from projectors.process_runtime.migrations import migrate
from shared.processes import folder_of
from shared.runtime.postgres import KEY_LOOKUPS
from shared.views import processes as views
from tests.integration.processes.conftest import Parcels
from tests.process_manager import NAME
from tests.statements import statements

SOME = ["p-1", "p-7000"]
NOTHING: list[Any] = [[]] * 34
HOT: dict[str, tuple[str, list[Any]]] = {
    "LOCK": (rows.LOCK, [SOME]),
    "BESIDE": (rows.BESIDE, [SOME, SOME, ["i", "i"]]),
    "WAITING": (rows.WAITING, [SOME]),
    "WRITE": (rows.WRITE, [*NOTHING[:12], None, *NOTHING[12:], "channel"]),
    "HOLD_TIMERS": (rows.HOLD_TIMERS, [SOME, True]),
    "DUE": (timers.DUE, [500]),
    "NEXT_IN_S": (timers.NEXT_IN_S, []),
    "OUTBOX": (outgoing.OUTBOX, [2000]),
    "WITHOUT_OUTCOME": (outgoing.WITHOUT_OUTCOME, [500]),
    "SENT": (outgoing.SENT, [[1, 7000], 30.0]),
    "COMMANDS_OF": (outcomes.COMMANDS_OF, [SOME]),
    "KEEP_OUTCOMES": (outcomes.KEEP_OUTCOMES, [SOME, ["{}", "{}"], [None, None]]),
    "PROCESS": (views.PROCESS, ["p-1"]),
    "HISTORY": (views.HISTORY, ["p-1", 10]),
    "SENT_COMMANDS": (views.SENT_COMMANDS, ["p-1", 10]),
}
FILL = """
INSERT INTO processes (id, status) SELECT 'p-' || n, 'running' FROM generate_series(1, 20000) n;
INSERT INTO inputs SELECT 'p-' || n, 1, 'i', 'timer', now(), '{}', 1, now() FROM generate_series(1, 20000) n;
INSERT INTO timers SELECT 'p-' || n, 't', 'x', now() + interval '1 day' FROM generate_series(1, 20000) n;
INSERT INTO commands (process, command_id, input_id, key, type, subject, data, actor, decided_at, sent_at)
SELECT 'p-' || n, 'c-' || n, 'i', 'k', 't', 's', '{}', 'a', now(), now() FROM generate_series(1, 20000) n;
ANALYZE processes, inputs, timers, commands
"""


async def test_every_statement_can_be_prepared(parcels: Parcels) -> None:
    found = statements("projectors.process_runtime", "shared.views.processes", "deploy.verify.laws.process_commands")
    assert len(found) > 25
    for statement in found.values():
        await parcels.db.prepare(statement)


@pytest.fixture(scope="module")
async def filled(process_schema: str) -> Any:
    connection = await asyncpg.connect(process_schema, server_settings={"search_path": folder_of(NAME)})
    await connection.execute("TRUNCATE processes, inputs, timers, commands RESTART IDENTITY")
    await connection.execute(FILL)
    for name, value in KEY_LOOKUPS.items():
        await connection.execute("SELECT set_config($1, $2, false)", name, value)
    yield connection
    await connection.close()


@pytest.mark.parametrize("name", HOT)
async def test_what_runs_all_the_time_uses_an_index(filled: asyncpg.Connection, name: str) -> None:
    statement, arguments = HOT[name]
    plan = "\n".join(row[0] for row in await filled.fetch("EXPLAIN " + statement, *arguments))
    assert "Index" in plan
    assert "Seq Scan" not in plan


async def test_migrating_again_changes_nothing(process_schema: str) -> None:
    assert await migrate(NAME, process_schema) == []


@pytest.mark.parametrize("name", ["DUE", "WITHOUT_OUTCOME"])
async def test_looking_for_what_is_due_ends_at_the_first_that_is_not(filled: asyncpg.Connection, name: str) -> None:
    statement, arguments = HOT[name]
    plan = "\n".join(row[0] for row in await filled.fetch("EXPLAIN " + statement, *arguments))
    assert "Index Cond" in plan
