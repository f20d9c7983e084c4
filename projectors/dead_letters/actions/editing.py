"""Edit a dead command and send it as a new one. The original is kept, and letter and new command refer to each other.

Only commands can be edited. Events are facts: instead, fix the projection or add an upcaster, and replay the event.
"""

import json
import secrets
import time
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from pydantic import ValidationError

from projectors.dead_letters.actions.audit import record
from projectors.dead_letters.actions.refusal import Refusal
from projectors.dead_letters.letters.letter import COMMANDS
from projectors.dead_letters.letters.marks import mark
from projectors.dead_letters.replaying.items import finish_items
from projectors.dead_letters.sealing import Seal, without_sealed_texts
from shared.contracts.privacy import ERASE_SUBJECT
from shared.contracts.registry import COMMANDS as CONTRACTS
from shared.contracts.validation_errors import describe
from shared.messages.control import Edit
from shared.messages.envelope import MAX_MESSAGE_BYTES, CommandEnvelope, EnvelopeError, split
from shared.messaging import topology
from shared.messaging.access import may_send
from shared.runtime.postgres import Connection
from shared.views.operations import Done
from shared.views.operations_queries import MAX_ID

LETTER: Final = """
SELECT l.origin, l.status, l.command_id, l.reply_to, l.correlation_id, p.body
FROM letters l JOIN payloads p ON p.letter_id = l.id WHERE l.id = $1 FOR UPDATE OF l
"""
ID_IS_TAKEN: Final = """
SELECT EXISTS (SELECT FROM resent_commands WHERE command_id = $1) OR EXISTS (SELECT FROM letters WHERE command_id = $1)
"""
SEND: Final = """
INSERT INTO resent_commands (command_id, letter_id, request_id, type, body, reply_to, correlation_id, actor, reason)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
SUPERSEDE: Final = """
UPDATE letters SET status = 'superseded', resolved_at = now(), resolution = 'edited', replaced_by = $2 WHERE id = $1
"""


async def edit(connection: Connection, act: Edit, request_id: str, seal: Seal) -> Done:
    """Edit the command, which is kept sealed. Runs within the request's transaction. Raises Refusal."""
    row = await connection.fetchrow(LETTER, act.letter_id) if 0 < act.letter_id <= MAX_ID else None
    if row is None:
        raise Refusal("letter-not-found", f"there is no letter {act.letter_id}")
    if row["origin"] != COMMANDS:
        raise Refusal("not-a-command", "events are facts: fix the projection and replay; only commands can be edited")
    if row["status"] not in ("dead", "replaying"):
        raise Refusal("letter-closed", f"letter {act.letter_id} is {row['status']}")
    envelope = edited_command(act, _original(row["body"]), datetime.now(UTC))
    if await connection.fetchval(ID_IS_TAKEN, envelope.id):
        raise _invalid("command_id", "is taken: a new command needs an id of its own")
    body = envelope.model_dump_json(exclude_none=True).encode()
    if len(body) > MAX_MESSAGE_BYTES:
        raise _invalid(
            "data", f"as an envelope the command may have {MAX_MESSAGE_BYTES} bytes; it would have {len(body)}"
        )
    reply_address = (row["reply_to"], row["correlation_id"])
    await connection.execute(
        SEND,
        envelope.id,
        act.letter_id,
        request_id,
        envelope.type,
        await seal(body),
        *reply_address,
        act.actor,
        act.reason,
    )
    await connection.execute(SUPERSEDE, act.letter_id, envelope.id)
    await finish_items(connection, [act.letter_id], ["superseded"])
    await mark(connection, [act.letter_id], topology.SUPERSEDED)
    details = json.dumps({"command_id": envelope.id, "type": envelope.type, "instead_of": row["command_id"]})
    await record(
        connection,
        act.actor,
        "edit",
        act.reason,
        letter_id=act.letter_id,
        request_id=request_id,
        details=details,
        behind=act.behind,
    )
    return Done(request_id=request_id, verb="edit", count=1, command_id=envelope.id)


def edited_command(act: Edit, original: dict[str, Any], now: datetime) -> CommandEnvelope:
    """The new command, validated against the envelope and its type's contract. Raises Refusal."""
    kept = {
        name: original[name]
        for name in ("source", "type", "subject", "expectedversion", "notbefore", "actor", "behind", "traceparent")
        if original.get(name)
    }
    given = {"id": act.command_id or uuid7(), "time": now.isoformat(), "data": act.data}
    changed = {name: value for name, value in (("type", act.type), ("subject", act.subject)) if value is not None}
    try:
        envelope = CommandEnvelope.model_validate({"source": "tidemark/dead_letters"} | kept | given | changed)
    except ValidationError as error:
        raise Refusal("validation-failed", "not a command envelope", describe(error)) from error
    if envelope.type == ERASE_SUBJECT:
        raise _invalid("type", f"{ERASE_SUBJECT} is never edited: it is sent by one who may have a person erased")
    if act.may is not None and not may_send(act.may, envelope.type):
        raise Refusal("forbidden", f"{act.actor} lacks the scope {COMMANDS}:{envelope.type}")
    contract = CONTRACTS.get(envelope.type)
    if contract is None:
        raise _invalid("type", f"there is no command {envelope.type!r}")
    try:
        contract.model_validate(without_sealed_texts(envelope.type, act.data))
    except ValidationError as error:
        raise Refusal("validation-failed", f"not the data of {envelope.type}", describe(error, contract)) from error
    return envelope


def uuid7() -> str:
    """A time-ordered id: RFC 9562, version 7."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return str(UUID(int=value & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62))


def _original(body: bytes) -> dict[str, Any]:
    try:
        elements = split(body)
    except EnvelopeError as error:
        raise Refusal("not-editable", f"the letter's body is no command: {error}") from error
    if len(elements) != 1 or not isinstance(elements[0], dict):
        raise Refusal("not-editable", "the letter's body is not one JSON object")
    return elements[0]


def _invalid(field: str, message: str) -> Refusal:
    return Refusal("validation-failed", f"{field}: {message}", [{"field": field, "message": message}])
