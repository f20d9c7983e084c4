"""What operators say of a cause of dead letters, and whether acts are forbidden. Both run within the request's transaction."""

from typing import Final

from projectors.dead_letters.actions.audit import record
from projectors.dead_letters.actions.refusal import Refusal
from shared.messages.operator_requests import Annotate, ForbidActs
from shared.runtime.postgres import Connection
from shared.views.operations import Done

EXISTS: Final = "SELECT EXISTS (SELECT FROM letters WHERE origin = $1 AND fingerprint = $2)"
ANNOTATE: Final = """
INSERT INTO group_notes (origin, fingerprint, owner, note, bug, snoozed_until, updated_by) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (origin, fingerprint) DO UPDATE SET
    owner = excluded.owner, note = excluded.note, bug = excluded.bug, snoozed_until = excluded.snoozed_until,
    updated_at = now(), updated_by = excluded.updated_by
"""
FORBID: Final = "UPDATE operators_acts SET forbidden = $1, since = now(), by_whom = $2, reason = $3"


async def annotate(connection: Connection, act: Annotate, request_id: str) -> Done:
    """Raises Refusal."""
    if not await connection.fetchval(EXISTS, act.origin, act.fingerprint):
        raise Refusal("group-not-found", "there is no dead letter of this origin with this fingerprint")
    said = (act.owner, act.note, act.bug, act.snoozed_until)
    await connection.execute(ANNOTATE, act.origin, act.fingerprint, *said, act.actor)
    details = act.model_dump_json(exclude={"actor", "behind", "reason"}, exclude_none=True)
    await record(
        connection, act.actor, "annotate", act.reason, request_id=request_id, details=details, behind=act.behind
    )
    return Done(request_id=request_id, verb="annotate")


async def forbid_acts(connection: Connection, act: ForbidActs, request_id: str) -> Done:
    await connection.execute(FORBID, act.on, act.actor, act.reason)
    name = "forbid-acts" if act.on else "allow-acts"
    await record(connection, act.actor, name, act.reason, request_id=request_id, behind=act.behind)
    return Done(request_id=request_id, verb="forbid-acts")
