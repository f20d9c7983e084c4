"""The audit: who did what, when and why. It is append-only and never deleted, enforced by a trigger (``migrations``)."""

from collections.abc import Sequence
from typing import Final

from shared.messages.control import Acted, Request
from shared.runtime.postgres import Connection

SYSTEM: Final = "tidemark"
"""The actor of actions without an operator."""

RECORD: Final = """
INSERT INTO audit (actor, act, reason, letter_id, job_id, request_id, details)
VALUES ($1, $2, $3, $4, $5, $6, $7::jsonb)
"""
RECORD_LETTERS: Final = """
INSERT INTO audit (actor, act, reason, letter_id, request_id, details)
SELECT $1, $2, $3, id, $4, jsonb_build_object(
    'origin', origin, 'stream', stream, 'version', version, 'type', type, 'command_id', command_id,
    'fingerprint', fingerprint, 'attempts', attempts)
FROM letters WHERE id = ANY ($5::bigint[]) ORDER BY id
"""

RECORD_ACTED: Final = """
INSERT INTO audit (at, actor, act, reason, projection, request_id, details)
VALUES ($1, $2, $3, $4, $5, $6, $7::jsonb) ON CONFLICT DO NOTHING
"""


async def record(
    connection: Connection,
    actor: str,
    act: str,
    reason: str,
    *,
    letter_id: int | None = None,
    job_id: int | None = None,
    request_id: str | None = None,
    details: str = "{}",
) -> None:
    """Record one action, in the transaction that carries it out. ``details``: a JSON object."""
    await connection.execute(RECORD, actor, act, reason, letter_id, job_id, request_id, details)


async def record_letters(
    connection: Connection, actor: str, act: str, reason: str, letter_ids: list[int], request_id: str
) -> None:
    """Record one action on many letters: one row for each, with the fields that identify it."""
    await connection.execute(RECORD_LETTERS, actor, act, reason, request_id, letter_ids)


async def record_acted(connection: Connection, messages: Sequence[Request[Acted]]) -> None:
    """Record actions on generations and processes, as reported by their projectors; a repeated report is ignored."""
    for message in messages:
        act = message.data
        details = act.model_dump_json(include={"subject" if act.subject else "generation", "asked_at"})
        values = (act.actor, act.act, act.reason, act.projection, act.request_id, details)
        await connection.execute(RECORD_ACTED, message.time, *values)
