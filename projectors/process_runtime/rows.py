"""The tables of one process manager: load and lock processes, and write what was decided, set-based, in the caller's transaction.

Rows of ``processes`` are locked in the order of their ids before anything else of a process is read or written, by every writer.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from pydantic_core import to_json as as_json

from projectors.process_runtime.deciding import Process, Progress, Status, StoredInput
from projectors.process_runtime.inputs import kind_of, to_json
from projectors.stores.postgres_writing import columns_of
from shared.runtime.postgres import Connection

CHANNEL: Final = "tidemark_process_commands"

ENSURE: Final = """
INSERT INTO processes (id, status) SELECT id, 'awaiting-start' FROM unnest($1::text[]) AS wanted (id) ORDER BY id ON CONFLICT DO NOTHING
"""

LOCK: Final = """
SELECT id, status, version, state_version, state::text, waiting_for, result, failure::text, received, decided, started_at, done_at,
    clock_timestamp() AS now
FROM processes WHERE id = ANY ($1::text[]) ORDER BY id FOR UPDATE
"""

READ: Final = """
SELECT id, status, version, state_version, state::text, waiting_for, result, failure::text, received, decided, started_at, done_at
FROM processes WHERE id = $1
"""

KNOWN: Final = """
SELECT inputs.process, inputs.input_id FROM unnest($1::text[], $2::text[]) AS given (process, input_id)
JOIN inputs ON inputs.process = given.process AND inputs.input_id = given.input_id
"""

TIMERS: Final = "SELECT process, name, token FROM timers WHERE process = ANY ($1::text[])"

WAITING: Final = """
SELECT process, number, kind, input_id, at, body::text FROM inputs
WHERE process = ANY ($1::text[]) AND decided IS NULL ORDER BY process, number
"""

# waiting_for comes as JSON: unnest would flatten an array of arrays.
STORE: Final = """
UPDATE processes SET
    status = new.status, version = new.version, state_version = new.state_version, state = new.state::jsonb,
    waiting_for = ARRAY(SELECT jsonb_array_elements_text(new.waiting_for::jsonb)), result = new.result, failure = new.failure::jsonb,
    received = new.received, decided = new.decided, started_at = new.started_at, done_at = new.done_at, updated_at = $13, pruned_at = NULL
FROM unnest($1::text[], $2::text[], $3::integer[], $4::integer[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::integer[], $10::integer[], $11::timestamptz[], $12::timestamptz[])
    AS new (id, status, version, state_version, state, waiting_for, result, failure, received, decided, started_at, done_at)
WHERE processes.id = new.id
"""

RECORD: Final = """
INSERT INTO inputs (process, number, input_id, kind, at, body, decided, received_at)
SELECT process, number, input_id, kind, at, body::jsonb, decided, $8
FROM unnest($1::text[], $2::integer[], $3::text[], $4::text[], $5::timestamptz[], $6::text[], $7::integer[])
    AS new (process, number, input_id, kind, at, body, decided)
"""

DECIDED: Final = """
UPDATE inputs SET decided = new.decided
FROM unnest($1::text[], $2::integer[], $3::integer[]) AS new (process, number, decided)
WHERE inputs.process = new.process AND inputs.number = new.number
"""

DELETE_TIMERS: Final = """
DELETE FROM timers USING unnest($1::text[], $2::text[]) AS gone (process, name)
WHERE timers.process = gone.process AND timers.name = gone.name
"""

SET_TIMERS: Final = """
INSERT INTO timers (process, name, token, due_at) SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[])
"""

HOLD_TIMERS: Final = "UPDATE timers SET held = $2 WHERE process = ANY ($1::text[]) AND held <> $2"

QUEUE: Final = """
INSERT INTO commands (process, command_id, input_id, key, type, subject, data, actor, decided_at)
SELECT process, command_id, input_id, key, type, subject, data::jsonb, actor, $9
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[]) WITH ORDINALITY
    AS new (process, command_id, input_id, key, type, subject, data, actor, place)
ORDER BY place
"""

NOTIFY: Final = "SELECT pg_notify($1, current_schema())"

COUNT: Final = """
INSERT INTO counters (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = counters.value + excluded.value
"""
STALE_TIMER: Final = "stale-timer"
NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Locked:
    """The processes that exist, by id, and the database's time when the last of them was locked."""

    processes: dict[str, Process]
    now: datetime


async def lock(connection: Connection, ids: Collection[str], *, beginning: Collection[str]) -> Locked:
    """Lock these processes, with their timers. ``beginning``: those of them that are made if they do not exist."""
    if beginning:
        await connection.execute(ENSURE, sorted(beginning))
    rows = await connection.fetch(LOCK, sorted(ids))
    if not rows:
        return Locked({}, NEVER)
    found = {row["id"]: _process(row) for row in rows}
    for row in await connection.fetch(TIMERS, list(found)):
        found[row["process"]].timers[row["name"]] = row["token"]
    return Locked(found, max(row["now"] for row in rows))


async def read(connection: Connection, process: str) -> Process | None:
    """A process as it is now, without its timers; not locked."""
    row = await connection.fetchrow(READ, process)
    return None if row is None else _process(row)


async def known(connection: Connection, inputs: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of these (process, input id) that are in the history."""
    rows = await connection.fetch(KNOWN, *columns_of(inputs))
    return {(row["process"], row["input_id"]) for row in rows}


async def load_waiting(connection: Connection, processes: Sequence[Process]) -> None:
    by_id = {process.id: process for process in processes}
    for row in await connection.fetch(WAITING, list(by_id)):
        stored = StoredInput(row["number"], row["kind"], row["input_id"], row["at"], row["body"])
        by_id[row["process"]].waiting.append(stored)


async def write(connection: Connection, steps: Sequence[Progress], now: datetime) -> None:
    """Write what ``advance`` has decided."""
    if stale := sum(step.stale for step in steps):
        await connection.execute(COUNT, STALE_TIMER, stale)
    await connection.execute(STORE, *columns_of([_row(step.process) for step in steps]), now)
    if inputs := [(step.process.id, each) for step in steps for each in step.inputs]:
        rows = [
            (process, each.number, each.given.id, kind_of(each.given), each.given.at, to_json(each.given), each.decided)
            for process, each in inputs
        ]
        await connection.execute(RECORD, *columns_of(rows), now)
    if later := [(step.process.id, *each) for step in steps for each in step.decided_later]:
        await connection.execute(DECIDED, *columns_of(later))
    await _write_timers(connection, steps)
    if commands := [(step.process.id, each) for step in steps for each in step.commands]:
        queued = [
            (process, one.command_id, one.input_id, one.key, one.type, one.subject, one.data, one.actor)
            for process, one in commands
        ]
        await connection.execute(QUEUE, *columns_of(queued), now)
        await connection.execute(NOTIFY, CHANNEL)


async def _write_timers(connection: Connection, steps: Sequence[Progress]) -> None:
    if cancelled := [(step.process.id, name) for step in steps for name in sorted(step.cancelled)]:
        await connection.execute(DELETE_TIMERS, *columns_of(cancelled))
    if timers := [(step.process.id, name, *timer) for step in steps for name, timer in step.timers.items()]:
        await connection.execute(SET_TIMERS, *columns_of(timers))
    with_timers = [
        step.process for step in steps if step.process.timers and step.process.failure != step.failure_before
    ]
    for held in (True, False):
        if ids := [each.id for each in with_timers if (each.status is Status.FAILED) is held]:
            await connection.execute(HOLD_TIMERS, ids, held)


def _row(process: Process) -> tuple[Any, ...]:
    return (
        process.id,
        process.status,
        process.version,
        process.state_version,
        process.state,
        as_json(list(process.waiting_for)).decode(),
        process.result,
        process.failure,
        process.received,
        process.decided,
        process.started_at,
        process.done_at,
    )


def _process(row: Any) -> Process:
    return Process(
        id=row["id"],
        status=Status(row["status"]),
        version=row["version"],
        state_version=row["state_version"],
        state=row["state"],
        waiting_for=tuple(row["waiting_for"]),
        result=row["result"],
        failure=row["failure"],
        received=row["received"],
        decided=row["decided"],
        started_at=row["started_at"],
        done_at=row["done_at"],
    )
