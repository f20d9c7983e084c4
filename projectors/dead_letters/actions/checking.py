"""Verifications and comparisons that are asked for: rows for ``deploy.checks``. Runs within the request's transaction."""

from typing import Final

from projectors.dead_letters.actions.audit import record
from projectors.dead_letters.actions.refusal import Refusal
from shared.messages.operator_requests import CancelCheck, Check
from shared.runtime.postgres import Connection
from shared.views.operations import Done
from shared.views.operations_queries import MAX_ID

MAX_OPEN: Final = 20

OPEN: Final = "SELECT count(*) FROM checks WHERE state IN ('queued', 'running')"
ADD: Final = """
INSERT INTO checks (request_id, kind, request, actor, reason) VALUES ($1, $2, $3::jsonb, $4, $5) RETURNING id
"""
STATE: Final = "SELECT state FROM checks WHERE id = $1 FOR UPDATE"
CANCEL: Final = """
UPDATE checks SET cancelled = true, state = CASE WHEN state = 'queued' THEN 'cancelled' ELSE state END,
    finished_at = CASE WHEN state = 'queued' THEN now() END
WHERE id = $1
"""


async def check(connection: Connection, act: Check, request_id: str) -> Done:
    """Raises Refusal."""
    if await connection.fetchval(OPEN) >= MAX_OPEN:
        raise Refusal(
            "too-many-checks", f"{MAX_OPEN} checks wait or run: is their runner there (python -m deploy.checks)?"
        )
    asked = act.model_dump_json(exclude={"actor", "behind", "reason", "kind"}, exclude_none=True)
    check_id = await connection.fetchval(ADD, request_id, act.kind, asked, act.actor, act.reason)
    details = act.model_dump_json(exclude={"actor", "behind", "reason"}, exclude_none=True)
    await record(connection, act.actor, "check", act.reason, request_id=request_id, details=details, behind=act.behind)
    return Done(request_id=request_id, verb="check", check_id=check_id)


async def cancel_check(connection: Connection, act: CancelCheck, request_id: str) -> Done:
    """One that runs ends within a second or two. Raises Refusal."""
    state = await connection.fetchval(STATE, act.check_id) if 0 < act.check_id <= MAX_ID else None
    if state is None:
        raise Refusal("check-not-found", f"there is no check {act.check_id}")
    if state not in ("queued", "running"):
        raise Refusal("check-closed", f"check {act.check_id} is {state}")
    await connection.execute(CANCEL, act.check_id)
    details = act.model_dump_json(include={"check_id"})
    await record(
        connection, act.actor, "cancel-check", act.reason, request_id=request_id, details=details, behind=act.behind
    )
    return Done(request_id=request_id, verb="cancel-check", check_id=act.check_id)
