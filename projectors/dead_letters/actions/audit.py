"""The audit: who did what, when and why. It is append-only, and each row is chained to the one before it by a hash (``migrations/0008``).

``record_all`` is the one way into it: for the dead-letter worker, and for command-line programs in their own transactions. Services that
may not write to the operations database send a message instead (``Acted``, ``Denied``), which the dead-letter worker records.

A transaction that has recorded something holds the end of the chain until it ends: keep it short.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Any, Final

from shared.messages.control import Acted, Request
from shared.messages.denials import Denied
from shared.runtime.postgres import Connection

SYSTEM: Final = "tidemark"
"""The actor of actions without an operator."""

RECORD: Final = "SELECT operations.record_audit($1::operations.audit_entry[])"
RECORD_LETTERS: Final = """
SELECT operations.record_audit(array_agg(ROW(
    now(), $1, $2, $3, id, NULL, NULL, $4, jsonb_build_object(
        'origin', origin, 'stream', stream, 'version', version, 'type', type, 'command_id', command_id,
        'fingerprint', fingerprint, 'attempts', attempts) || $6::jsonb,
    NULL)::operations.audit_entry ORDER BY id))
FROM operations.letters WHERE id = ANY ($5::bigint[])
"""
RECORD_ONE: Final = """
SELECT operations.record_audit(ARRAY[ROW(now(), $1, $2, $3, $4::bigint, $5::bigint, NULL, $6, $7::jsonb, NULL)::operations.audit_entry])
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row to be. ``details``: a JSON object. ``once``: recorded only if no row has it yet. The order is that of ``audit_entry``."""

    at: datetime
    actor: str
    act: str
    reason: str
    letter_id: int | None = None
    job_id: int | None = None
    projection: str | None = None
    request_id: str | None = None
    details: str = "{}"
    once: str | None = None


async def record_all(connection: Connection, entries: Iterable[Entry]) -> int:
    """Add these rows to the end of the chain, in their order, in the caller's transaction; returns how many were not there yet."""
    unique: dict[str | int, Entry] = {}
    for place, entry in enumerate(entries):
        unique.setdefault(entry.once or place, entry)
    if not unique:
        return 0
    added: int = await connection.fetchval(RECORD, [astuple(entry) for entry in unique.values()])
    return added


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
    behind: str | None = None,
) -> None:
    """Record one action, in the transaction that carries it out. ``details``: a JSON object; ``behind`` becomes part of it."""
    shown = with_behind(details, behind)
    await connection.execute(RECORD_ONE, actor, act, reason, letter_id, job_id, request_id, shown)


async def record_letters(
    connection: Connection,
    actor: str,
    act: str,
    reason: str,
    letter_ids: list[int],
    request_id: str,
    *,
    behind: str | None = None,
) -> None:
    """Record one action on many letters: one row for each, with the fields that identify it."""
    await connection.execute(RECORD_LETTERS, actor, act, reason, request_id, letter_ids, with_behind("{}", behind))


def with_behind(details: str, behind: str | None) -> str:
    """The details, and the person whom the actor says it acts for, as claimed."""
    return details if behind is None else json.dumps({**json.loads(details), "behind": behind})


async def record_reported(connection: Connection, messages: Sequence[Request[Any]]) -> None:
    """Record what other processes report, ``Acted`` and ``Denied``; a repeated report is ignored."""
    await record_all(connection, _entries(messages))


def _entries(messages: Sequence[Request[Any]]) -> Iterator[Entry]:
    for message in messages:
        match message.data:
            case Acted() as acted:
                yield _acted(message.time, acted)
            case Denied() as denied:
                yield _denied(message.id, message.time, denied)


def _acted(at: datetime, act: Acted) -> Entry:
    stated = act.model_dump(mode="json", include={"subject" if act.subject else "generation", "asked_at"})
    details = json.dumps((act.details or {}) | stated, ensure_ascii=False)
    once = f"{act.projection}/{act.act}/{stated['asked_at']}/{act.request_id}"
    return Entry(
        at,
        act.actor,
        act.act,
        act.reason,
        projection=act.projection,
        request_id=act.request_id,
        details=details,
        once=once,
    )


def _denied(request_id: str, at: datetime, denied: Denied) -> Entry:
    times = "once" if denied.count == 1 else f"{denied.count} times"
    reason = f"{denied.service} refused {denied.action} {times} in this minute: {denied.code}"
    details = denied.model_dump_json(exclude={"identity"}, exclude_none=True)
    return Entry(at, denied.identity, "denied", reason, request_id=request_id, details=details, once=request_id)
