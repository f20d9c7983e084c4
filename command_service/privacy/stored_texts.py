"""Personal texts that the write database has in clear, from before they were sealed: `tidemark subjects seal` seals them as the owner.

Those of persons who are erased are replaced by the erased form.

An event is a fact and is never edited; whose name is in it is not the fact. The function ``replace_texts`` of the database is the only way
to write an event again: it takes nothing but sealed texts, or the erased form, in the place of texts.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from pydantic_core import from_json, to_json

from command_service.handling.borrowing import AGGREGATE_OF
from command_service.handling.parsing import digest_of
from command_service.privacy.personal_data import keyed_digest
from shared.contracts.registry import COMMANDS, EVENTS
from shared.messages.envelope import CommandEnvelope
from shared.privacy.command_bodies import sealed_command, subject_of_command
from shared.privacy.marks import ERASED, personal_fields, subject_of
from shared.privacy.sealing import Keys, close_text, is_sealed, texts_in
from shared.runtime.postgres import Connection

PERSONAL_TYPES: Final = {name: cls for cls, (name, _) in EVENTS.items() if personal_fields(cls)}
PERSONAL_COMMANDS: Final = sorted(name for name, contract in COMMANDS.items() if personal_fields(contract))

# Reads every event of a product.
REVIEWS_OF: Final = """
SELECT stream, version, envelope::text AS envelope FROM all_events
WHERE stream LIKE 'products/%' AND envelope ->> 'type' = 'catalog.review-added'
    AND envelope -> 'data' ->> 'customer_id' = $1
"""
REPLACE_TEXTS: Final = "SELECT replace_texts($1, $2, $3::json)"
STATE_OF: Final = "SELECT state::text AS state FROM streams WHERE stream = $1 FOR UPDATE"
WRITE_STATE: Final = "UPDATE streams SET state = $2::json WHERE stream = $1"
SCHEDULED: Final = "SELECT id, envelope FROM scheduled_commands WHERE command_type = ANY ($1::text[]) FOR UPDATE"
WRITE_SCHEDULED: Final = "UPDATE scheduled_commands SET envelope = $2, body_hash = $3 WHERE id = $1"


async def seal_scheduled(connection: Connection, keys_of: Callable[[Collection[str]], Any]) -> None:
    """Seal the personal texts of scheduled commands; in the caller's transaction. ``keys_of``: makes and returns keys."""
    for row in await connection.fetch(SCHEDULED, PERSONAL_COMMANDS):
        command = from_json(row["envelope"])
        subject = subject_of_command(command)
        if subject is not None:
            await _write_scheduled(connection, row["id"], command, await keys_of([subject]))


async def replace(connection: Connection, stream: str, version: int, envelope: str, keys: Keys) -> int:
    """Seal the event's personal texts that are in clear, or overwrite them if the subject is erased. Returns 1 if there were any."""
    changed = sealed_event(from_json(envelope), keys)
    if changed is None:
        return 0
    await connection.fetchval(REPLACE_TEXTS, stream, version, to_json(changed).decode())
    return 1


def subject_of_event(envelope: Mapping[str, Any]) -> str | None:
    """Whose personal data an event as it is stored has; None: nobody's."""
    cls = PERSONAL_TYPES.get(envelope["type"])
    return None if cls is None else subject_of(cls, envelope["data"], envelope["subject"])


def sealed_event(envelope: Mapping[str, Any], keys: Keys) -> dict[str, Any] | None:
    """The event without personal texts in clear; None: it has none. Every schema version: a field keeps its name and meaning."""
    cls = PERSONAL_TYPES.get(envelope["type"])
    subject = subject_of_event(envelope)
    if cls is None or subject is None:
        return None
    texts = _closed(texts_in(cls, envelope["data"]), subject, keys)
    return {**envelope, "data": {**envelope["data"], **texts}} if texts else None


async def seal_state(connection: Connection, stream: str, keys: Keys) -> None:
    """The same for the state of a person's stream."""
    aggregate = AGGREGATE_OF.get(stream.partition("/")[0])
    kept = await connection.fetchval(STATE_OF, stream) if aggregate is not None else None
    state = None if kept is None else from_json(kept)
    if aggregate is None or not isinstance(state, dict):
        return
    if texts := _closed(texts_in(aggregate.state, state), stream, keys):
        await connection.execute(WRITE_STATE, stream, to_json(state | texts).decode())


async def _write_scheduled(connection: Connection, row_id: int, command: dict[str, Any], keys: Keys) -> None:
    """The command's digest is that of the clear one, under the person's key."""
    subject = subject_of_command(command)
    before = CommandEnvelope.model_validate(command)
    closed = sealed_command(command, subject, keys)
    if closed == command:
        return
    after = CommandEnvelope.model_validate(closed)
    await connection.execute(
        WRITE_SCHEDULED,
        row_id,
        after.model_dump_json(exclude_none=True),
        keyed_digest(digest_of(before), keys.get(subject) if subject is not None else None),
    )


def _closed(texts: Mapping[str, str], subject: str, keys: Keys) -> dict[str, str]:
    """Those in clear, as they are to be."""
    clear = {name: text for name, text in texts.items() if text != ERASED and not is_sealed(text)}
    return {name: close_text(text, subject, keys.get(subject)) for name, text in clear.items()}
