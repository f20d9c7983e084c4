"""Pause, resume and cancel replay jobs. Outcomes of letters that were already sent are still recorded."""

import json
from typing import Final

from projectors.dead_letters.actions.audit import record
from projectors.dead_letters.actions.refusal import Refusal
from projectors.dead_letters.replaying.jobs import State, requested_state
from shared.messages.control import Steer
from shared.runtime.postgres import Connection
from shared.views.operations import Done, JobState
from shared.views.operations_queries import MAX_ID

STATE: Final = "SELECT state FROM jobs WHERE id = $1 FOR UPDATE"
# An operator who resumes a job that stopped itself has seen why: the canary is over, and failures, those of a step too, are counted
# from here.
STEER: Final = """
UPDATE jobs SET
    state = $2, why = $3, canary_over = canary_over OR state = 'stopped',
    forgiven = CASE WHEN state = 'stopped' THEN same ELSE forgiven END,
    failed_before = CASE WHEN state = 'stopped' THEN failed ELSE failed_before END,
    succeeded_before = CASE WHEN state = 'stopped' THEN succeeded ELSE succeeded_before END,
    finished_at = CASE WHEN $2 = 'cancelled' THEN now() END
WHERE id = $1
"""
SKIP_QUEUED: Final = """
WITH left_out AS (
    UPDATE job_items SET status = 'skipped', outcome = 'cancelled' WHERE job_id = $1 AND status = 'queued' RETURNING ord
)
UPDATE jobs SET skipped = skipped + (SELECT count(*) FROM left_out) WHERE id = $1
"""


async def steer(connection: Connection, act: Steer, request_id: str) -> Done:
    """Change the job's state. Runs within the request's transaction. Raises Refusal."""
    found = await connection.fetchval(STATE, act.job_id) if 0 < act.job_id <= MAX_ID else None
    if found is None:
        raise Refusal("job-not-found", f"there is no job {act.job_id}")
    to = requested_state(State(found), act.to)
    if to is None:
        raise Refusal("invalid-transition", f"job {act.job_id} is {found}: it cannot become {act.to}")
    await connection.execute(STEER, act.job_id, to, f"{act.actor}: {act.reason}" if act.reason else act.actor)
    if to is State.CANCELLED:
        await connection.execute(SKIP_QUEUED, act.job_id)
    act_name = {"paused": "pause", "running": "resume", "cancelled": "cancel"}[act.to]
    details = json.dumps({"from": found})
    await record(
        connection,
        act.actor,
        act_name,
        act.reason,
        job_id=act.job_id,
        request_id=request_id,
        details=details,
        behind=act.behind,
    )
    return Done(request_id=request_id, verb="steer", job_id=act.job_id, state=JobState(to))
