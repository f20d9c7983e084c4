"""Seals what an older version has stored in clear: events, states, scheduled commands, letters. Online, and safe to repeat.

Until it is done, the erasure of a customer has to read all events of products for their reviews; backups from before stay as they are.
"""

from collections.abc import Callable
from typing import Final

import asyncpg
from pydantic_core import from_json

from command_service.privacy.personal_data import keyed_digest
from command_service.privacy.stored_texts import (
    PERSONAL_COMMANDS,
    replace,
    seal_scheduled,
    seal_state,
    subject_of_event,
)
from deploy.erasure.stores import OPERATIONS, WRITE, connection, databases, key_database
from projectors.dead_letters.sealing import Sealing
from shared.contracts.registry import PERSONS
from shared.privacy.key_database import CLAIMS, KeyDatabase
from shared.runtime.settings import Settings
from shared.views import operations

PAGE: Final = 1000
KINDS: Final = sorted({*PERSONS, "products"})
"""The kinds whose events may have personal data."""

# In the order of the primary keys: of both tables, so that each page is read once.
EVENTS_AFTER: Final = """
SELECT stream, version, envelope::text AS envelope FROM all_events
WHERE (stream, version) > ($1, $2) AND split_part(stream, '/', 1) = ANY ($3::text[])
ORDER BY stream, version LIMIT $4
"""
STREAMS_AFTER: Final = (
    "SELECT stream FROM streams WHERE stream > $1 AND kind = ANY ($2::text[]) ORDER BY stream LIMIT $3"
)
# What came is quoted in rejections from before: that they are invalid stays, the value goes.
SCRUB_REJECTIONS: Final = """
UPDATE commands SET outcome = jsonb_set(
    jsonb_set(outcome::jsonb, '{data,message}', '"the data were not valid"'), '{data,errors}', '[]'
)::json
WHERE command_type = ANY ($1::text[]) AND outcome -> 'data' ->> 'code' = 'validation-failed'
    AND outcome -> 'data' ->> 'message' <> 'the data were not valid' AND decided_at < $2
"""
UPDATED_AT: Final = "SELECT applied_at FROM migrations WHERE name = '0010_pre_erasures.sql'"
# Digests of commands, from before they were kept under a key: of a guessed text, too, anybody could make one.
DIGESTS: Final = """
SELECT command_id, source, body_hash FROM commands
WHERE command_type = ANY ($1::text[]) AND length(body_hash) = 32 AND (command_id, source) > ($2, $3)
ORDER BY command_id, source LIMIT $4
"""
WRITE_DIGESTS: Final = """
UPDATE commands SET body_hash = new.digest FROM unnest($1::text[], $2::text[], $3::bytea[]) AS new (command_id, source, digest)
WHERE commands.command_id = new.command_id AND commands.source = new.source
"""
DONE: Final = "UPDATE sealing SET done_at = now()"
LETTERS: Final = """
SELECT payloads.letter_id, payloads.body FROM payloads JOIN letters ON letters.id = payloads.letter_id
WHERE letters.origin = 'commands' AND letters.type = ANY ($1::text[])
"""
WRITE_LETTER: Final = "UPDATE payloads SET body = $2 WHERE letter_id = $1"


async def seal(settings: Settings, progress: Callable[[int], None]) -> int:
    """Returns how many events were in clear. ``progress`` gets the number of events read so far."""
    urls = databases(settings)
    async with key_database(settings) as keys:
        async with connection(WRITE, urls[WRITE]) as write:
            changed = await _events(write, keys, progress)
            await _states(write, keys)
            async with write.transaction():
                await seal_scheduled(write, lambda subjects: keys.keys(subjects, make=subjects))
            await write.execute(SCRUB_REJECTIONS, PERSONAL_COMMANDS, await write.fetchval(UPDATED_AT), timeout=None)
            await _digests(write, await keys.secret(CLAIMS))
            await write.execute(DONE)
        async with connection(OPERATIONS, urls[OPERATIONS], schema=operations.SCHEMA) as found:
            seal_body = Sealing(keys)
            for row in await found.fetch(LETTERS, PERSONAL_COMMANDS, timeout=None):
                if (body := await seal_body(row["body"])) != row["body"]:
                    await found.execute(WRITE_LETTER, row["letter_id"], body)
    return changed


async def _events(write: asyncpg.Connection, keys: KeyDatabase, progress: Callable[[int], None]) -> int:
    stream, version, read, changed = "", 0, 0, 0
    while page := await write.fetch(EVENTS_AFTER, stream, version, KINDS, PAGE, timeout=None):
        subjects = {subject for row in page if (subject := subject_of_event(from_json(row["envelope"]))) is not None}
        found = await keys.keys(subjects, make=subjects)
        async with write.transaction():
            for row in page:
                changed += await replace(write, row["stream"], row["version"], row["envelope"], found)
        stream, version, read = page[-1]["stream"], page[-1]["version"], read + len(page)
        progress(read)
    return changed


async def _digests(write: asyncpg.Connection, secret: bytes) -> None:
    after = ("", "")
    while page := await write.fetch(DIGESTS, PERSONAL_COMMANDS, *after, PAGE, timeout=None):
        ids, sources = [row["command_id"] for row in page], [row["source"] for row in page]
        await write.execute(WRITE_DIGESTS, ids, sources, [keyed_digest(row["body_hash"], secret) for row in page])
        after = (ids[-1], sources[-1])


async def _states(write: asyncpg.Connection, keys: KeyDatabase) -> None:
    after = ""
    while page := await write.fetch(STREAMS_AFTER, after, list(PERSONS), PAGE, timeout=None):
        streams = [row["stream"] for row in page]
        found = await keys.keys(streams, make=streams)
        async with write.transaction():
            for stream in streams:
                await seal_state(write, stream, found)
        after = streams[-1]
