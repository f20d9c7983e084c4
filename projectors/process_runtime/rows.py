"""The tables of one process manager: load and lock processes, and write what was decided, set-based, in the caller's transaction.

Rows of ``processes`` are locked in the order of their ids before anything else of a process is read or written, by every writer.
"""

from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Final

from projectors.process_runtime.deciding import Process, Progress, Status, StoredInput
from projectors.process_runtime.inputs import kind_of, to_json
from projectors.stores.postgres_writing import Row, columns_of
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

# With a token: a timer that is set. Without one: an input that is in the history.
BESIDE: Final = """
SELECT process, name, token FROM timers WHERE process = ANY ($1::text[])
UNION ALL
SELECT inputs.process, inputs.input_id, NULL FROM unnest($2::text[], $3::text[]) AS given (process, input_id)
JOIN inputs ON inputs.process = given.process AND inputs.input_id = given.input_id
"""

WAITING: Final = """
SELECT process, number, kind, input_id, at, body::text FROM inputs
WHERE process = ANY ($1::text[]) AND decided IS NULL ORDER BY process, number
"""

WRITE: Final = (Path(__file__).parent / "write.sql").read_text()
SEPARATOR: Final = "\x1f"
"""Between the keys of ``waiting_for`` in a parameter: unnest would flatten an array of arrays."""

DECIDED: Final = """
UPDATE inputs SET decided = new.decided
FROM unnest($1::text[], $2::integer[], $3::integer[]) AS new (process, number, decided)
WHERE inputs.process = new.process AND inputs.number = new.number
"""

HOLD_TIMERS: Final = "UPDATE timers SET held = $2 WHERE process = ANY ($1::text[]) AND held <> $2"

COUNT: Final = """
INSERT INTO counters (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = counters.value + excluded.value
"""
STALE_TIMER: Final = "stale-timer"
NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Locked:
    """The processes that exist, by id, the database's time when the last of them was locked, and which inputs they have had."""

    processes: dict[str, Process]
    now: datetime
    known: Set[tuple[str, str]]
    """Those of the inputs that were asked for that are in the history: (process, input id)."""


async def lock(
    connection: Connection, inputs: Collection[tuple[str, str]], *, beginning: Collection[str] = ()
) -> Locked:
    """Lock the processes of these inputs, (process, input id), and load their timers. ``beginning``: made if they do not exist."""
    if beginning:
        await connection.execute(ENSURE, sorted(beginning))
    rows = await connection.fetch(LOCK, sorted({process for process, _ in inputs}))
    if not rows:
        return Locked({}, NEVER, frozenset())
    found = {row["id"]: _process(row) for row in rows}
    known: set[tuple[str, str]] = set()
    # A statement of its own: it has to see what the last writer of each process has written, for which the one above has waited.
    for process, name, token in await connection.fetch(BESIDE, list(found), *columns_of(list(inputs))):
        if token is None:
            known.add((process, name))
        else:
            found[process].timers[name] = token
    return Locked(found, max(row["now"] for row in rows), known)


async def read(connection: Connection, process: str) -> Process | None:
    """A process as it is now, without its timers; not locked."""
    row = await connection.fetchrow(READ, process)
    return None if row is None else _process(row)


async def load_waiting(connection: Connection, processes: Sequence[Process]) -> None:
    by_id = {process.id: process for process in processes}
    for row in await connection.fetch(WAITING, list(by_id)):
        stored = StoredInput(row["number"], row["kind"], row["input_id"], row["at"], row["body"])
        by_id[row["process"]].waiting.append(stored)


async def write(connection: Connection, steps: Sequence[Progress], now: datetime) -> None:
    """Write what ``advance`` has decided."""
    if stale := sum(step.stale for step in steps):
        await connection.execute(COUNT, STALE_TIMER, stale)
    if later := [(step.process.id, *each) for step in steps for each in step.decided_later]:
        await connection.execute(DECIDED, *columns_of(later))
    changed = [_row(step.process) for step in steps]
    inputs = [
        (step.process.id, each.number, one.id, kind_of(one), one.at, to_json(one), each.decided)
        for step in steps
        for each in step.inputs
        for one in [each.given]
    ]
    deleted = [(step.process.id, name) for step in steps for name in sorted(step.cancelled - step.timers.keys())]
    timers = [(step.process.id, name, *timer) for step in steps for name, timer in step.timers.items()]
    commands = [
        (
            step.process.id,
            one.command_id,
            one.input_id,
            one.key,
            one.type,
            one.subject,
            one.data,
            one.actor,
            one.traceparent,
        )
        for step in steps
        for one in step.commands
    ]
    tables = (_columns(rows, count) for rows, count in ((inputs, 7), (deleted, 2), (timers, 4), (commands, 9)))
    await connection.execute(WRITE, *columns_of(changed), now, *chain.from_iterable(tables), CHANNEL)
    await _hold_timers(connection, steps)


async def _hold_timers(connection: Connection, steps: Sequence[Progress]) -> None:
    with_timers = [
        step.process for step in steps if step.process.timers and step.process.failure != step.failure_before
    ]
    for held in (True, False):
        if ids := [each.id for each in with_timers if (each.status is Status.FAILED) is held]:
            await connection.execute(HOLD_TIMERS, ids, held)


def _columns(rows: Sequence[Row], count: int) -> Sequence[Row]:
    """The columns of rows, also of none."""
    return columns_of(rows) if rows else [()] * count


def _row(process: Process) -> tuple[Any, ...]:
    return (
        process.id,
        process.status,
        process.version,
        process.state_version,
        process.state,
        SEPARATOR.join(each.replace(SEPARATOR, " ") for each in process.waiting_for),
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
