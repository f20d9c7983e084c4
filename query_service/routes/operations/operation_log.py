"""Replay jobs, and the audit, from the operations database."""

from typing import Annotated, Final

import msgspec
from litestar import Response, get
from litestar.params import QueryParameter
from pydantic_core import from_json

from query_service.http.conditional import conditional_response
from query_service.http.openapi import RESPONSES, problem_response
from query_service.http.paging import DEFAULT_LIMIT, Cursor, Limit, ListQuery, Page, SortKey, page
from query_service.http.parameters import JobId, TimeParameter, parse_time
from query_service.http.requests import QueryRequest
from shared.http.problems import Problem
from shared.views.operations import AuditEntry, JobView
from shared.views.operations_queries import AUDIT, JOB, JOBS, MAX_ID, AuditFilter


class RowKey(SortKey, frozen=True):
    id: Annotated[int, msgspec.Meta(ge=1, le=MAX_ID)]


_NO_JOB: Final = problem_response(
    404, "There is no such job.", "job-not-found", "there is no job 3", "/dead-letters/jobs/3"
)
OfLetter = Annotated[int | None, QueryParameter(ge=1, le=MAX_ID, description="Only actions on this letter.")]
OfJob = Annotated[int | None, QueryParameter(ge=1, le=MAX_ID, description="Only actions on this job.")]
OfProjection = Annotated[
    str | None,
    QueryParameter(
        max_length=50,
        description="Only actions on this projection's generations, this process manager's processes, or `commands`.",
    ),
]
By = Annotated[str | None, QueryParameter(max_length=200, description="Only actions of this operator or identity.")]
OfRequest = Annotated[
    str | None, QueryParameter(max_length=300, description="Only actions of the request with this id.")
]
Act = Annotated[
    str | None,
    QueryParameter(
        max_length=50,
        description="`replay`, `discard`, `edit`, `pause`, `resume`, `cancel`; `rebuild`, `activate`, `rollback`, `denied`, and the like.",
    ),
]


@get(
    "/dead-letters/jobs",
    needs="dead-letters:read",
    responses=RESPONSES,
    tags=["operations"],
    summary="Replay jobs, the newest first",
)
async def jobs(request: QueryRequest, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> Response[Page[JobView]]:
    """Replay jobs with their counts: queued + under_way + succeeded + failed + skipped = total."""
    query = ListQuery("dead-letter-jobs")
    before = query.key(cursor, RowKey).id if cursor else MAX_ID
    rows = await request.stores.operations.fetch(JOBS, before, limit + 1)
    following = query.cursor(RowKey(rows[limit - 1]["id"])) if len(rows) > limit else None
    items = (JobView(**{**row, "selection": from_json(row["selection"])}).model_dump_json() for row in rows[:limit])
    return conditional_response(request, page(items, following), {})


@get(
    "/dead-letters/jobs/{job_id:str}",
    needs="dead-letters:read",
    responses={**RESPONSES, 404: _NO_JOB},
    tags=["operations"],
    summary="One replay job",
)
async def job(request: QueryRequest, job_id: JobId) -> Response[JobView]:
    """The progress of a replay job."""
    row = await request.stores.operations.fetchrow(JOB, job_id)
    if row is None:
        raise Problem(f"there is no job {job_id}", status=404, code="job-not-found")
    view = JobView(**{**row, "selection": from_json(row["selection"])})
    return conditional_response(request, view.model_dump_json().encode(), {})


@get(
    "/audit",
    needs="audit:read",
    responses=RESPONSES,
    tags=["operations"],
    summary="Who did what, when and why, the latest first",
)
async def audit(
    request: QueryRequest,
    letter_id: OfLetter = None,
    job_id: OfJob = None,
    projection: OfProjection = None,
    actor: By = None,
    act: Act = None,
    request_id: OfRequest = None,
    at_from: TimeParameter = None,
    at_to: TimeParameter = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response[Page[AuditEntry]]:
    """Operators' acts, changes of keys, denials (counted by the minute) and erasures. `at_from` is inclusive, `at_to` exclusive.

    The audit is append-only, and chained by hashes: `tidemark audit verify` finds what was changed.
    """
    chosen = AuditFilter(
        letter_id=letter_id,
        job_id=job_id,
        actor=actor,
        act=act,
        projections=None if projection is None else (projection,),
        request_id=request_id,
        at_from=None if at_from is None else parse_time("at_from", at_from),
        at_to=None if at_to is None else parse_time("at_to", at_to),
    )
    return await _entries(request, chosen, limit, cursor)


@get(
    "/dead-letters/audit",
    needs="audit:read",
    responses=RESPONSES,
    tags=["operations"],
    summary="Like /audit",
)
async def dead_letter_audit(
    request: QueryRequest,
    letter_id: OfLetter = None,
    job_id: OfJob = None,
    projection: OfProjection = None,
    actor: By = None,
    act: Act = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response[Page[AuditEntry]]:
    """The same entries as `/audit`, under the name they had before."""
    projections = None if projection is None else (projection,)
    chosen = AuditFilter(letter_id=letter_id, job_id=job_id, actor=actor, act=act, projections=projections)
    return await _entries(request, chosen, limit, cursor)


async def _entries(
    request: QueryRequest, chosen: AuditFilter, limit: int, cursor: str | None
) -> Response[Page[AuditEntry]]:
    query = ListQuery("audit", *map(str, chosen.parameters))
    before = query.key(cursor, RowKey).id if cursor else MAX_ID
    rows = await request.stores.operations.fetch(AUDIT, before, *chosen.parameters, limit + 1)
    following = query.cursor(RowKey(rows[limit - 1]["id"])) if len(rows) > limit else None
    items = (AuditEntry(**{**row, "details": from_json(row["details"])}).model_dump_json() for row in rows[:limit])
    return conditional_response(request, page(items, following), {})


ROUTES: Final = (
    jobs,
    job,
    audit,
    dead_letter_audit,
)
