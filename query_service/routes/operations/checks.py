"""Verifications and comparisons as jobs: asked for here, carried out by the runner of checks (``deploy.checks``), one after the other.

    POST ──identity, body──▶ [control] ──▶ dead-letter worker ──row, audit──▶ operations database ◀──▶ tidemark checks

The query service starts nothing itself: to verify means to read the write database, which it never reaches.
"""

from typing import Annotated, Any, Final

import msgspec
from litestar import Response, get, post
from litestar.params import PathParameter, QueryParameter
from pydantic_core import from_json

from query_service.http import operators
from query_service.http.acting import act_of, require_acts_allowed
from query_service.http.conditional import conditional_response
from query_service.http.openapi import RESPONSES, problem_response
from query_service.http.operator_openapi import ALWAYS_DONE, ActionOperation
from query_service.http.paging import DEFAULT_LIMIT, Cursor, Limit, ListQuery, Page, SortKey, page
from query_service.http.requests import QueryRequest
from shared.http.identities.guard import require
from shared.http.identities.identity import identity_of
from shared.http.problems import Problem
from shared.messages.operator_requests import CancelCheck, Check
from shared.messaging.operators.operations_client import Act
from shared.views.checks import CHECK, CHECKS, CheckDetail, CheckKind, CheckView
from shared.views.operations import Done
from shared.views.operations_queries import MAX_ID

HEAL: Final = "checks:heal"

CheckId = Annotated[int, PathParameter(ge=1, le=MAX_ID, description="A check's number.")]
OfKind = Annotated[CheckKind | None, QueryParameter(name="kind", description="Only those of this kind.")]


class CheckKey(SortKey, frozen=True):
    id: Annotated[int, msgspec.Meta(ge=1, le=MAX_ID)]


class VerifyOperation(ActionOperation):
    act = Check
    not_in_body = frozenset({"actor", "behind", "kind", "generation", "against"})


class CompareOperation(ActionOperation):
    act = Check
    not_in_body = frozenset({"actor", "behind", "kind", "heal"})


class CancelOperation(ActionOperation):
    act = CancelCheck
    not_in_body = frozenset({"actor", "behind", "check_id"})


_NO_CHECK: Final = problem_response(
    404, "There is no such check.", "check-not-found", "there is no check 3", "/checks/3"
)
_ACT: Final[dict[str, Any]] = {"responses": ALWAYS_DONE, "tags": ["operations"]}


@get(
    "/checks",
    needs="checks:read",
    responses=RESPONSES,
    tags=["operations"],
    summary="Verifications and comparisons, the newest first",
)
async def checks(
    request: QueryRequest, kind_: OfKind = None, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Response[Page[CheckView]]:
    """Without their results."""
    query = ListQuery("checks", kind_)
    before = query.key(cursor, CheckKey).id if cursor else MAX_ID
    rows = await request.stores.operations.fetch(CHECKS, before, kind_, limit + 1)
    following = query.cursor(CheckKey(rows[limit - 1]["id"])) if len(rows) > limit else None
    items = (CheckView(**{**row, "request": from_json(row["request"])}).model_dump_json() for row in rows[:limit])
    return conditional_response(request, page(items, following), {})


@get(
    "/checks/{check_id:str}",
    needs="checks:read",
    responses={**RESPONSES, 404: _NO_CHECK},
    tags=["operations"],
    summary="One verification or comparison, with its result",
)
async def one_check(request: QueryRequest, check_id: CheckId) -> Response[CheckDetail]:
    """How far it is, or what came of it."""
    row = await request.stores.operations.fetchrow(CHECK, check_id)
    if row is None:
        raise Problem(f"there is no check {check_id}", status=404, code="check-not-found")
    result = None if row["result"] is None else from_json(row["result"])
    view = CheckDetail(**{**row, "request": from_json(row["request"]), "result": result})
    return conditional_response(request, view.model_dump_json().encode(), {})


@post(
    "/checks/verify",
    needs="checks:run",
    operation_class=VerifyOperation,
    status_code=202,
    summary="Verify read models against the event store",
    **_ACT,
)
async def ask_to_verify(request: QueryRequest) -> Response[Done]:
    """Of the `projections`, or of all: stream by stream, with all content or that of a `sample`. `heal` also needs `checks:heal`."""
    act = await act_of(request, Check, kind=CheckKind.VERIFY)
    if act.heal:
        require(identity_of(request), (HEAL,))
    return await _ask(request, act)


@post(
    "/checks/compare",
    needs="checks:run",
    operation_class=CompareOperation,
    status_code=202,
    summary="Compare two generations of a read model",
    **_ACT,
)
async def ask_to_compare(request: QueryRequest) -> Response[Done]:
    """Row by row, with up to `sample` differing rows of each table. Without numbers: the newest ready one with the active one."""
    return await _ask(request, await act_of(request, Check, kind=CheckKind.COMPARE))


@post(
    "/checks/{check_id:str}/cancel",
    needs="checks:run",
    operation_class=CancelOperation,
    status_code=200,
    summary="Cancel a verification or comparison",
    **_ACT,
)
async def cancel_check(request: QueryRequest, check_id: CheckId) -> Response[Done]:
    """One that runs ends within seconds. It changes nothing but what a healing has asked for already."""
    return await _ask(request, await act_of(request, CancelCheck, check_id=check_id), status=200)


async def _ask(request: QueryRequest, act: Act, *, status: int = 202) -> Response[Done]:
    request_id = operators.request_id(request)
    await require_acts_allowed(request)
    done = await request.operators.ask(act, request_id)
    body = done.model_dump_json(exclude_none=True).encode()
    return operators.answer(body, request_id, status=status, location=f"/checks/{done.check_id}")


ROUTES: Final = (
    checks,
    one_check,
    ask_to_verify,
    ask_to_compare,
    cancel_check,
)
