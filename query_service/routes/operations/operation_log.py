"""Replay jobs, and the audit, from the operations database."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, Final

import msgspec
from litestar import Response, get
from litestar.params import QueryParameter
from pydantic_core import from_json

from query_service.analytics.csv_table import MEDIA_TYPE as CSV
from query_service.analytics.csv_table import Cell, csv_table
from query_service.consistency.as_of import rfc3339
from query_service.http.conditional import conditional_response
from query_service.http.negotiation import ACCEPT, VARY
from query_service.http.negotiation import chosen as chosen_type
from query_service.http.openapi import RESPONSES, problem_response
from query_service.http.paging import DEFAULT_LIMIT, Cursor, Limit, ListQuery, Page, SortKey, page
from query_service.http.parameters import JobId, TimeParameter, parse_time
from query_service.http.requests import QueryRequest
from shared.http.problems import Problem
from shared.views.operations import AuditEntry, JobLetterView, JobView
from shared.views.operations_queries import AUDIT, JOB, JOB_LETTERS, JOBS, MAX_ID, AuditFilter, AuditKind

JSON: Final = "application/json"
MAX_CSV: Final = 10_000
AUDIT_COLUMNS: Final = tuple(AuditEntry.model_fields)
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class ItemStatus(StrEnum):
    QUEUED = "queued"
    SENT = "sent"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"


class RowKey(SortKey, frozen=True):
    id: Annotated[int, msgspec.Meta(ge=1, le=MAX_ID)]


_NO_JOB: Final = problem_response(
    404, "There is no such job.", "job-not-found", "there is no job 3", "/dead-letters/jobs/3"
)
_NOT_ACCEPTABLE: Final = problem_response(
    406,
    "`Accept` allows neither JSON nor CSV.",
    "not-acceptable",
    "this route answers with application/json or text/csv; Accept allows neither",
    "/audit",
)
ItemStatusFilter = Annotated[ItemStatus | None, QueryParameter(description="Only letters with this result.")]
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
OfKind = Annotated[
    AuditKind | None,
    QueryParameter(
        description="`deployment`: a process has started with another version; `alert`: it fires, or is over; `epoch`: one of the write"
        " database has begun; `denial`: lack of a right; `act`: all else, which is what somebody did."
    ),
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
    "/dead-letters/jobs/{job_id:str}/letters",
    needs="dead-letters:read",
    responses={**RESPONSES, 404: _NO_JOB},
    tags=["operations"],
    summary="The letters of a replay job, in their order",
)
async def job_letters(
    request: QueryRequest,
    job_id: JobId,
    status: ItemStatusFilter = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response[Page[JobLetterView]]:
    """The selection as it was frozen, and what has come of each letter so far."""
    query = ListQuery("job-letters", str(job_id), status)
    after = query.key(cursor, RowKey).id if cursor else 0
    store = request.stores.operations
    if await store.fetchrow(JOB, job_id) is None:
        raise Problem(f"there is no job {job_id}", status=404, code="job-not-found")
    rows = await store.fetch(JOB_LETTERS, job_id, after, limit + 1, status)
    following = query.cursor(RowKey(rows[limit - 1]["ord"])) if len(rows) > limit else None
    items = (JobLetterView(**row).model_dump_json() for row in rows[:limit])
    return conditional_response(request, page(items, following), {})


@get(
    "/audit",
    needs="audit:read",
    responses={**RESPONSES, 406: _NOT_ACCEPTABLE},
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
    kind: OfKind = None,
    request_id: OfRequest = None,
    at_from: TimeParameter = None,
    at_to: TimeParameter = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response[Page[AuditEntry]]:
    """The timeline: acts, changes of keys, denials (counted by the minute), erasures, deployments, alerts, epochs.

    `at_from` is inclusive, `at_to` exclusive.

    The audit is append-only, and chained by hashes: `tidemark audit verify` finds what was changed.

    With `Accept: text/csv` the answer is CSV (RFC 4180) with the latest 10,000 entries that match, and no pages: narrow the time to get
    more. A text that a spreadsheet would run as a formula, or that begins with an apostrophe, has an apostrophe in front.
    """
    media_type = chosen_type(request.headers.getall(ACCEPT, []), (JSON, CSV))
    chosen = AuditFilter(
        letter_id=letter_id,
        job_id=job_id,
        actor=actor,
        act=act,
        kind=kind,
        projections=None if projection is None else (projection,),
        request_id=request_id,
        at_from=None if at_from is None else parse_time("at_from", at_from),
        at_to=None if at_to is None else parse_time("at_to", at_to),
    )
    if media_type == CSV:
        return await _as_csv(request, chosen)
    return await _entries(request, chosen, limit, cursor, VARY)


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
    request: QueryRequest,
    chosen: AuditFilter,
    limit: int,
    cursor: str | None,
    headers: Mapping[str, str] = _NO_HEADERS,
) -> Response[Page[AuditEntry]]:
    query = ListQuery("audit", *map(str, chosen.parameters))
    before = query.key(cursor, RowKey).id if cursor else MAX_ID
    rows = await request.stores.operations.fetch(AUDIT, before, *chosen.parameters, limit + 1)
    following = query.cursor(RowKey(rows[limit - 1]["id"])) if len(rows) > limit else None
    items = (AuditEntry(**{**row, "details": from_json(row["details"])}).model_dump_json() for row in rows[:limit])
    return conditional_response(request, page(items, following), headers)


async def _as_csv(request: QueryRequest, chosen: AuditFilter) -> Response[Any]:
    rows = await request.stores.operations.fetch(AUDIT, MAX_ID, *chosen.parameters, MAX_CSV)
    cells = ([_cell(row[name]) for name in AUDIT_COLUMNS] for row in rows)
    return conditional_response(request, csv_table(AUDIT_COLUMNS, cells), VARY, media_type=CSV)


def _cell(value: Any) -> Cell:
    return rfc3339(value) if isinstance(value, datetime) else value


ROUTES: Final = (
    jobs,
    job,
    job_letters,
    audit,
    dead_letter_audit,
)
