"""The write database: what a batch needs to read, and the transaction that writes its result.

Streams are written first and in the order of their names: two writers of one stream meet at its row, so the later one's outbox rows
have higher ids, and no two batches can deadlock on streams. All writes are compare-and-set on the version that was read; the loser
gets ConflictError, and nothing is written. ``updated_at`` is the database's time: workers' clocks may differ.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import asyncpg
import msgspec

from command_service.handling.borrowing import FIELDS, BorrowedFacts, borrowed_streams
from command_service.handling.decision import Batch, ClaimKey, LoadedStreams, Outcome, PriorOutcome, StoredStream
from command_service.handling.epochs import Epoch
from command_service.handling.outbox import CHANNEL
from command_service.handling.parsing import Command, Task
from command_service.privacy.personal_data import HASHED, PERSONAL_CLAIMS, hashed_claim, kept_digest
from command_service.scheduling import scheduled_commands
from shared.contracts.privacy import ERASE_SUBJECT
from shared.messages.outcomes import ACCEPTED
from shared.messaging.topology import hash_of
from shared.runtime.failpoints import Failpoint, reached
from shared.runtime.postgres import Connection

# An outcome from before sources were stored ('') is that of its id, for any source. One with the source sorts later, and takes priority.
# Without an outcome: a command that waits for its time.
COMMANDS_BY_KEY: Final = """
WITH wanted AS MATERIALIZED (SELECT * FROM unnest($1::text[], $2::text[]) AS wanted (source, command_id))
SELECT wanted.source, wanted.command_id, body_hash, outcome, outcome ->> 'type' AS type, commands.source AS stored
FROM wanted JOIN commands ON commands.command_id = wanted.command_id AND commands.source IN (wanted.source, '')
UNION ALL
SELECT wanted.source, wanted.command_id, body_hash, NULL, NULL, NULL
FROM wanted JOIN scheduled_commands AS waiting USING (source, command_id)
ORDER BY stored
"""
STREAMS_BY_NAME: Final = "SELECT stream, version, state, state_version FROM streams WHERE stream = ANY ($1::text[])"
# One JSON object, which costs the worker a fraction of a row for each stream. No join: $2 and following are two or three entries.
BORROWED_FACTS: Final = """
SELECT coalesce(json_object_agg(stream, value) FILTER (WHERE fits AND value IS NOT NULL), '{}')::text AS facts,
       coalesce(array_agg(stream) FILTER (WHERE NOT fits), '{}') AS outdated
FROM (
    SELECT stream, state ->> ($3::text[])[at] AS value,
           state_version BETWEEN ($4::integer[])[at] AND ($5::integer[])[at] AS fits
    FROM (
        SELECT stream, state, state_version, array_position($2::text[], kind) AS at
        FROM streams WHERE stream = ANY ($1::text[]) OFFSET 0
    ) found OFFSET 0
) lent
"""
CLAIMS_BY_KEY: Final = """
SELECT scope, value, stream FROM claims JOIN unnest($1::text[], $2::text[]) AS wanted (scope, value) USING (scope, value)
"""
INSERT_STREAMS: Final = """
INSERT INTO streams (stream, kind, version, state, state_version, updated_at)
SELECT stream, kind, version, state::json, state_version, now()
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::integer[])
    AS new (stream, kind, version, state, state_version)
"""
# What is to be written is joined once, by key: joined again to what is locked, it would be searched from its beginning for each row.
UPDATE_STREAMS: Final = """
WITH locked AS MATERIALIZED (
    SELECT c.* FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::integer[])
        AS c (stream, expected, version, state, state_version)
    JOIN streams s ON s.stream = c.stream AND s.version = c.expected
    ORDER BY s.stream FOR UPDATE OF s
)
UPDATE streams s SET version = l.version, state = l.state::json, state_version = l.state_version, updated_at = now()
FROM locked l WHERE s.stream = l.stream AND s.version = l.expected
"""
# Only for an unchanged version of the stream: a concurrent writer has stored a newer state.
RESTORE_STATES: Final = """
UPDATE streams s SET state = c.state::json, state_version = c.state_version
FROM unnest($1::text[], $2::bigint[], $3::text[], $4::integer[]) AS c (stream, version, state, state_version)
WHERE s.stream = c.stream AND s.version = c.version
"""
# A command with an outcome is no longer undecided. Looked up by key: with outdated statistics a join would scan undecided_commands.
INSERT_COMMANDS: Final = """
WITH new AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::text[])
        AS new (command_id, source, command_type, body_hash, outcome)
), settled AS (
    DELETE FROM undecided_commands WHERE ctid = ANY (ARRAY (
        SELECT (SELECT u.ctid FROM undecided_commands u WHERE u.command_id = new.command_id AND u.source = new.source) FROM new
    ))
)
INSERT INTO commands (command_id, source, command_type, body_hash, outcome, decided_at)
SELECT command_id, source, command_type, body_hash, outcome::json, $6 FROM new
"""
# Stored, and enqueued for the relay: each envelope is sent to the server once, and the relay is notified at commit.
RECORD_EVENTS: Final = """
WITH new AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::text[])
        WITH ORDINALITY AS new (stream, version, hash, type, envelope, n)
), kept AS (
    INSERT INTO events (stream, version, envelope, epoch) SELECT stream, version, envelope::json, $6 FROM new
), enqueued AS (
    INSERT INTO outbox (stream, hash, type, envelope) SELECT stream, hash, type, envelope FROM new ORDER BY n
)
SELECT pg_notify($7, '')
"""
DELETE_CLAIMS: Final = """
DELETE FROM claims USING unnest($1::text[], $2::text[], $3::text[]) AS given (scope, value, stream)
WHERE claims.scope = given.scope AND claims.value = given.value AND claims.stream = given.stream
"""
INSERT_CLAIMS: Final = """
INSERT INTO claims (scope, value, stream)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[]) AS new (scope, value, stream) ORDER BY 1, 2
"""
RECORD_ERASURES: Final = """
INSERT INTO erasures (subject) SELECT subject FROM unnest($1::text[]) AS new (subject) ON CONFLICT DO NOTHING
"""
# From before such claims were hashed. All of one scope, by the primary key.
CLAIMS_IN_CLEAR: Final = """
SELECT scope, value FROM claims WHERE scope = ANY ($1::text[]) AND NOT starts_with(value, $2) LIMIT 1000
"""
HASH_CLAIMS: Final = """
WITH clear AS (
    DELETE FROM claims USING unnest($1::text[], $2::text[], $3::text[]) AS given (scope, value, hashed)
    WHERE claims.scope = given.scope AND claims.value = given.value
    RETURNING claims.scope, given.hashed, claims.stream
)
INSERT INTO claims (scope, value, stream) SELECT scope, hashed, stream FROM clear ON CONFLICT DO NOTHING
"""
# Of persons who are erased. The scopes are PERSONAL_CLAIMS, spelt out as in the partial index ``claims_of_persons``, which serves it so.
FREE_CLAIMS: Final = """
DELETE FROM claims WHERE stream = ANY ($1::text[]) AND scope IN ('customer-email', 'user-email')
"""
OUTCOME: Final = """
SELECT outcome, body_hash, source FROM commands WHERE command_id = $1 AND source IN ($2, '') ORDER BY source DESC LIMIT 1
"""
SOURCES: Final = """
SELECT source FROM commands WHERE command_id = $1
UNION SELECT source FROM undecided_commands WHERE command_id = $1
UNION SELECT source FROM scheduled_commands WHERE command_id = $1 LIMIT 2
"""


_FACTS: Final = msgspec.json.Decoder(dict[str, str])


class ConflictError(Exception):
    """A concurrent writer has changed what the batch was decided on; nothing was written. Decide again."""


async def load(connection: Connection, commands: Sequence[Command], epoch: Epoch) -> LoadedStreams:
    keys = {command.key for command in commands}
    streams = {command.task.stream for command in commands if isinstance(command.task, Task)}
    found = await connection.fetch(COMMANDS_BY_KEY, [key[0] for key in keys], [key[1] for key in keys])
    facts = await _load_facts(connection, borrowed_streams(commands))
    streams |= facts.outdated
    rows = await connection.fetch(STREAMS_BY_NAME, list(streams)) if streams else []
    return LoadedStreams(
        decided={
            (row["source"], row["command_id"]): PriorOutcome(
                row["body_hash"], Outcome(row["outcome"].encode(), row["type"] == ACCEPTED)
            )
            for row in found
            if row["outcome"] is not None
        },
        scheduled={(row["source"], row["command_id"]): row["body_hash"] for row in found if row["outcome"] is None},
        streams={row["stream"]: StoredStream(row["version"], row["state"], row["state_version"]) for row in rows},
        facts=facts,
        epoch=epoch.name,
    )


async def _load_facts(connection: Connection, streams: set[str]) -> BorrowedFacts:
    if not streams:
        return BorrowedFacts()
    [row] = await connection.fetch(BORROWED_FACTS, list(streams), *map(list, zip(*FIELDS, strict=True)))
    return BorrowedFacts(_FACTS.decode(row["facts"]), set(row["outdated"]))


async def load_claims(connection: Connection, keys: set[ClaimKey]) -> dict[ClaimKey, str | None]:
    """Each claim's stream; None where it is free."""
    scopes, values = [key[0] for key in keys], [key[1] for key in keys]
    rows = await connection.fetch(CLAIMS_BY_KEY, scopes, values)
    return dict.fromkeys(keys) | {(row["scope"], row["value"]): row["stream"] for row in rows}


async def hash_claims(connection: Connection, secret: bytes) -> None:
    """Record what is unique of persons as keyed hashes, where an older version has recorded it in clear."""
    while found := await connection.fetch(CLAIMS_IN_CLEAR, sorted(PERSONAL_CLAIMS), HASHED):
        rows = [(row["scope"], row["value"], hashed_claim(row["scope"], row["value"], secret)) for row in found]
        await connection.execute(HASH_CLAIMS, *map(list, zip(*rows, strict=True)))


async def append(connection: Connection, batch: Batch, known: LoadedStreams, now: datetime, epoch: Epoch) -> None:
    """Write state, events, outcomes, claims and outbox rows in one transaction. Raises ConflictError, or the server's errors."""
    if not batch.decided:
        return
    try:
        async with connection.transaction():
            await _write_streams(connection, batch, known)
            await _write_commands(connection, batch, known, now)
            if known.scheduled:
                await scheduled_commands.delete(connection, [key for key in known.scheduled if key in batch.decided])
            if batch.claims:
                await _write_claims(connection, batch, known)
            if batch.events:
                names = [event.stream for event in batch.events]
                await connection.execute(
                    RECORD_EVENTS,
                    names,
                    [event.version for event in batch.events],
                    list(map(hash_of, names)),
                    [event.type for event in batch.events],
                    [event.envelope for event in batch.events],
                    epoch.number,
                    CHANNEL,
                )
            if erased := _erased(batch):
                await connection.execute(RECORD_ERASURES, erased)
                await connection.execute(FREE_CLAIMS, erased)
            reached(Failpoint.BEFORE_COMMIT)
    except (asyncpg.UniqueViolationError, asyncpg.DeadlockDetectedError, asyncpg.SerializationError) as error:
        raise ConflictError(str(error)) from error


async def _write_streams(connection: Connection, batch: Batch, known: LoadedStreams) -> None:
    changed = sorted(batch.changed_streams())
    new = [(name, current) for name, current in changed if current.loaded == 0]
    old = [(name, current) for name, current in changed if current.loaded > 0]
    if new:
        await connection.execute(
            INSERT_STREAMS,
            [name for name, _ in new],
            [current.aggregate.kind for _, current in new],
            [current.version for _, current in new],
            [current.state_json(name, known.keys) for name, current in new],
            [current.aggregate.state_version for _, current in new],
        )
    if old:
        status = await connection.execute(
            UPDATE_STREAMS,
            [name for name, _ in old],
            [current.loaded for _, current in old],
            [current.version for _, current in old],
            [current.state_json(name, known.keys) for name, current in old],
            [current.aggregate.state_version for _, current in old],
        )
        if _count(status) != len(old):
            raise ConflictError("a stream has moved on")
    if restored := sorted(batch.restored_streams()):
        await connection.execute(
            RESTORE_STATES,
            [name for name, _ in restored],
            [current.version for _, current in restored],
            [current.state_json(name, known.keys) for name, current in restored],
            [current.aggregate.state_version for _, current in restored],
        )


async def _write_commands(connection: Connection, batch: Batch, known: LoadedStreams, now: datetime) -> None:
    decided = sorted(batch.decided.items(), key=lambda item: item[0])
    await connection.execute(
        INSERT_COMMANDS,
        [command_id for (_, command_id), _ in decided],
        [source for (source, _), _ in decided],
        [command.envelope.type for _, (command, _) in decided],
        [kept_digest(command, known.keys, known.claims_secret) for _, (command, _) in decided],
        [outcome.body.decode() for _, (_, outcome) in decided],
        now,
    )


def _erased(batch: Batch) -> list[str]:
    """The subjects whose erasure is accepted, for the first time or again."""
    return sorted(
        {
            command.envelope.data["subject"]
            for command, outcome in batch.decided.values()
            if command.envelope.type == ERASE_SUBJECT and outcome.accepted
        }
    )


async def _write_claims(connection: Connection, batch: Batch, known: LoadedStreams) -> None:
    moved = [(key, known.claims[key], holder) for key, holder in batch.claims.items() if known.claims[key] != holder]
    released = [(scope, value, before) for (scope, value), before, _ in moved if before is not None]
    taken = [(scope, value, holder) for (scope, value), _, holder in moved if holder is not None]
    if released:
        status = await connection.execute(DELETE_CLAIMS, *map(list, zip(*released, strict=True)))
        if _count(status) != len(released):
            raise ConflictError("a claim has changed hands")
    if taken:
        await connection.execute(INSERT_CLAIMS, *map(list, zip(*taken, strict=True)))


def _count(status: str) -> int:
    """The row count in a command tag such as ``UPDATE 3``."""
    return int(status.rsplit(" ", 1)[-1])
