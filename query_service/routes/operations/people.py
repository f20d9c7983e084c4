"""Who one is and what one may do; the roles there are; and the switch with which an administrator forbids operators' acts for a time."""

from datetime import UTC, datetime
from typing import Any, Final

from litestar import Response, get, post
from pydantic import BaseModel, Field

from query_service.http import operators
from query_service.http.acting import act_of, read_only
from query_service.http.conditional import conditional_response
from query_service.http.openapi import RESPONSES, UNREAD
from query_service.http.operator_openapi import NEVER_FORBIDDEN, ActionOperation
from query_service.http.problems import StoreDownError
from query_service.http.requests import QueryRequest
from shared.http.identities.guard import AUTHENTICATED
from shared.http.identities.identity import identity_of
from shared.http.identities.scopes import ROLES, role_of
from shared.messages.operator_requests import ForbidActs
from shared.views.operations import Done, ReadOnlyView


class Me(BaseModel):
    """The identity behind the request."""

    subject: str = Field(description="The actor in audits; `anonymous` while authentication is off.")
    behind: str | None = Field(description="Whom it says it acts for (`Tidemark-Actor`).")
    anonymous: bool = Field(description="Authentication is off: acts need the header `Tidemark-Actor`.")
    scopes: list[str] = Field(description="As granted, wildcards included.")
    role: str | None = Field(description="The highest role all of whose scopes are granted.")
    expires_at: datetime | None = Field(description="When its credential ends; null: it is not known to.")
    read_only: ReadOnlyView | None = Field(description="Whether acts are forbidden; null: that cannot be read now.")


class RoleView(BaseModel):
    name: str
    meaning: str
    scopes: list[str]


class Roles(BaseModel):
    """From the least to all: each has all that the one before it has."""

    items: list[RoleView]


class ForbidOperation(ActionOperation):
    act = ForbidActs
    not_in_body = frozenset({"actor", "behind", "on"})


_ACT: Final[dict[str, Any]] = {
    "responses": NEVER_FORBIDDEN,
    "status_code": 200,
    "tags": ["operations"],
}


@get("/me", needs=AUTHENTICATED, responses=UNREAD, tags=["operations"], summary="Who am I")
async def me(request: QueryRequest) -> Response[Me]:
    """The identity of this request's credential, what it may do, and until when."""
    identity = identity_of(request)
    try:
        forbidden = await read_only(request)
    except StoreDownError:
        forbidden = None
    expires = None if identity.expires_at is None else datetime.fromtimestamp(identity.expires_at, UTC)
    view = Me(
        subject=identity.subject,
        behind=identity.behind,
        anonymous=identity.is_anonymous,
        scopes=sorted(identity.scopes),
        role=role_of(identity.scopes),
        expires_at=expires,
        read_only=forbidden,
    )
    return conditional_response(request, view.model_dump_json().encode(), {"Vary": "Authorization"})


@get("/roles", needs=AUTHENTICATED, responses=UNREAD, tags=["operations"], summary="Roles")
async def roles(request: QueryRequest) -> Response[Roles]:
    """Named sets of scopes for persons: `tidemark keys create ann --role operator`."""
    items = [RoleView(name=name, meaning=role.meaning, scopes=sorted(role.scopes)) for name, role in ROLES.items()]
    return conditional_response(request, Roles(items=items).model_dump_json().encode(), {})


@get(
    "/read-only",
    needs=AUTHENTICATED,
    responses=RESPONSES,
    tags=["operations"],
    summary="Whether operators' acts are forbidden",
)
async def acts_forbidden(request: QueryRequest) -> Response[ReadOnlyView]:
    """While they are, every act over HTTP is refused with 423 `read-only`. The command line is for administrators, and goes on."""
    return conditional_response(request, (await read_only(request)).model_dump_json().encode(), {})


@post(
    "/read-only/on",
    needs="operations:read-only",
    operation_class=ForbidOperation,
    summary="Forbid operators' acts",
    **_ACT,
)
async def forbid(request: QueryRequest) -> Response[Done]:
    """From the answer on every act over HTTP is refused, but this one's undoing. It is in the audit, with its reason."""
    return await _forbid(request, on=True)


@post(
    "/read-only/off",
    needs="operations:read-only",
    operation_class=ForbidOperation,
    summary="Allow operators' acts again",
    **_ACT,
)
async def allow(request: QueryRequest) -> Response[Done]:
    """It is in the audit, with its reason."""
    return await _forbid(request, on=False)


async def _forbid(request: QueryRequest, *, on: bool) -> Response[Done]:
    request_id = operators.request_id(request)
    done = await request.operators.ask(await act_of(request, ForbidActs, on=on), request_id)
    return operators.answer(done.model_dump_json(exclude_none=True).encode(), request_id)


ROUTES: Final = (
    me,
    roles,
    acts_forbidden,
    forbid,
    allow,
)
