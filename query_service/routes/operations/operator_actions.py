"""Operators' actions on dead letters: each is a request to the dead-letter worker, and the response is the worker's reply.

    POST ──identity, body──▶ [control] ──▶ dead-letter worker ──▶ reply queue ──▶ 200 or 202, or a problem with the worker's code

The query service changes nothing itself. A repeated request with the same ``Idempotency-Key`` has no further effect and gets the same
response.
"""

from typing import Any, Final, Literal

from litestar import Response, post

from query_service.http import operators
from query_service.http.acting import act_of, require_acts_allowed
from query_service.http.operator_openapi import (
    ACTION_RESPONSES,
    AnnotateOperation,
    DiscardOperation,
    EditOperation,
    ReplayOperation,
    SteerOperation,
)
from query_service.http.parameters import JobId
from query_service.http.requests import QueryRequest
from shared.messages.control import Discard, Edit, Replay, Steer
from shared.messages.envelope import MAX_MESSAGE_BYTES
from shared.messages.operator_requests import Annotate
from shared.messaging.operators.operations_client import Act
from shared.views.operations import Done

_ACT: Final[dict[str, Any]] = {
    "status_code": 200,
    "responses": ACTION_RESPONSES,
    "tags": ["operations"],
    "request_max_body_size": MAX_MESSAGE_BYTES,
}


@post(
    "/dead-letters/replay",
    needs="dead-letters:replay",
    operation_class=ReplayOperation,
    summary="Replay dead letters",
    **_ACT,
)
async def replay(request: QueryRequest) -> Response[Done]:
    """Create a job from the letters that match now, and send them through the normal path again.

    202 with the job's address in `Location`; with `dry_run` 200 and a preview of the job. `selection` takes the criteria of
    `GET /dead-letters`, `letter_ids`, or `everything: true`.
    """
    return await _request_action(request, Replay)


@post(
    "/dead-letters/discard",
    needs="dead-letters:discard",
    operation_class=DiscardOperation,
    summary="Discard dead letters",
    **_ACT,
)
async def discard(request: QueryRequest) -> Response[Done]:
    """Discard the selected letters: projections skip their events and continue with those behind them; commands are dropped."""
    return await _request_action(request, Discard)


@post(
    "/dead-letters/edit",
    needs="dead-letters:edit",
    operation_class=EditOperation,
    summary="Edit a dead command and send it again",
    **_ACT,
)
async def edit(request: QueryRequest) -> Response[Done]:
    """Send a dead command again with other data, under a new id. The original is kept. Events are facts and are never edited.

    Besides `dead-letters:edit` it needs the scope to send that command, `commands:<type>`: 403 without.
    """
    return await _request_action(request, Edit, may=operators.commands_of(request))


@post(
    "/dead-letters/groups/annotate",
    needs="dead-letters:annotate",
    operation_class=AnnotateOperation,
    summary="Say who owns a cause of dead letters, and what is known of it",
    **_ACT,
)
async def annotate_group(request: QueryRequest) -> Response[Done]:
    """Replaces all that was said of it before: what is absent is cleared. A snoozed cause is no finding of `/status` until its time."""
    return await _request_action(request, Annotate)


@post(
    "/dead-letters/jobs/{job_id:str}/pause",
    needs="dead-letters:replay",
    operation_class=SteerOperation,
    summary="Pause a replay job",
    **_ACT,
)
async def pause_job(request: QueryRequest, job_id: JobId) -> Response[Done]:
    """Stop sending the job's letters; the outcomes of those already sent are still recorded."""
    return await _steer(request, job_id, "paused")


@post(
    "/dead-letters/jobs/{job_id:str}/resume",
    needs="dead-letters:replay",
    operation_class=SteerOperation,
    summary="Resume a replay job",
    **_ACT,
)
async def resume_job(request: QueryRequest, job_id: JobId) -> Response[Done]:
    """Continue a job that was paused or that stopped itself."""
    return await _steer(request, job_id, "running")


@post(
    "/dead-letters/jobs/{job_id:str}/cancel",
    needs="dead-letters:replay",
    operation_class=SteerOperation,
    summary="Cancel a replay job",
    **_ACT,
)
async def cancel_job(request: QueryRequest, job_id: JobId) -> Response[Done]:
    """End a job permanently; letters that it has not sent stay dead."""
    return await _steer(request, job_id, "cancelled")


async def _steer(request: QueryRequest, job_id: int, to: Literal["paused", "running", "cancelled"]) -> Response[Done]:
    return await _request_action(request, Steer, job_id=job_id, to=to)


async def _request_action(request: QueryRequest, kind: type[Act], **values: object) -> Response[Done]:
    request_id = operators.request_id(request)
    act = await act_of(request, kind, body_required=kind is not Steer, **values)
    if not getattr(act, "dry_run", False):
        await require_acts_allowed(request)
    done = await request.operators.ask(act, request_id)
    location = f"/dead-letters/jobs/{done.job_id}" if done.verb == "replay" and done.job_id is not None else None
    accepted = done.verb not in ("steer", "annotate") and not done.dry_run
    body = done.model_dump_json(exclude_none=True).encode()
    return operators.answer(body, request_id, status=202 if accepted else 200, location=location)


ROUTES: Final = (
    replay,
    discard,
    edit,
    annotate_group,
    pause_job,
    resume_job,
    cancel_job,
)
