"""Users: one user, lists, the audit of a user, and a user at an earlier time."""

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from litestar import Response
from litestar.params import QueryParameter

from query_service.accounts.replay import AuditedChange, replayed
from query_service.http.conditional import conditional_response
from query_service.http.documents import StoredDocument, document, versions_page
from query_service.http.paging import DEFAULT_LIMIT, Cursor, Limit, ListQuery, Page, SortKey, page
from query_service.http.parameters import RequiredTime, UserId, parse_time
from query_service.http.problems import NotFoundError
from query_service.http.reading import read_route
from query_service.http.requests import QueryRequest
from query_service.stores.postgres_store import PostgresStore
from shared.http.problems import Problem
from shared.views.accounts import UserAuditEntry, UserView

PAGE: Final = 500
"""Changes replayed at once: bounds the memory."""

USER: Final = "SELECT version, doc::text AS body FROM users WHERE user_id = $1"

# One branch runs, depending on which of role ($1) and active ($2) are given.
LIST: Final = """
(SELECT user_id, doc::text AS item FROM users
 WHERE $1::text IS NULL AND $2::boolean IS NULL AND user_id > $3 ORDER BY user_id LIMIT $4)
UNION ALL
(SELECT user_id, doc::text AS item FROM users
 WHERE $2::boolean IS NULL AND role = $1 AND user_id > $3 ORDER BY user_id LIMIT $4)
UNION ALL
(SELECT user_id, doc::text AS item FROM users
 WHERE $1::text IS NULL AND active = $2 AND user_id > $3 ORDER BY user_id LIMIT $4)
UNION ALL
(SELECT user_id, doc::text AS item FROM users
 WHERE role = $1 AND active = $2 AND user_id > $3 ORDER BY user_id LIMIT $4)
"""

AUDIT: Final = """
SELECT version, json_build_object('version', version, 'type', type, 'at', replace(to_jsonb(at) #>> '{}', '+00:00', 'Z'),
    'actor', actor, 'before', before, 'after', after)::text AS item
FROM user_audit WHERE user_id = $1 AND version > $2 ORDER BY version LIMIT $3
"""

# Clocks of two workers differ: a change is in the state of a time if it, or one after it, has that time or an earlier one.
CHANGES_UNTIL: Final = """
SELECT version, at, after::text AS after FROM user_audit
WHERE user_id = $1 AND version > $2 AND version <= (SELECT max(version) FROM user_audit WHERE user_id = $1 AND at <= $3)
ORDER BY version LIMIT $4
"""
CREATED_AT: Final = "SELECT at FROM user_audit WHERE user_id = $1 ORDER BY version LIMIT 1"

Role = Annotated[
    str | None, QueryParameter(description="Only users with this role; exact spelling.", min_length=1, max_length=200)
]
Active = Annotated[
    bool | None, QueryParameter(description="`true`: only active users; `false`: only deactivated ones.")
]


class UserKey(SortKey, frozen=True):
    user_id: str


@read_route("/users/{user_id:str}", needs="queries:accounts", one=True, tags=["users"], summary="One user")
async def user(request: QueryRequest, user_id: UserId) -> Response[UserView]:
    """One user, active or deactivated."""
    return await document(request, request.stores.postgres("summary"), USER, "user", user_id)


@read_route("/users", needs="queries:accounts", tags=["users"], summary="Users by id")
async def users(
    request: QueryRequest,
    role: Role = None,
    active: Active = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response[Page[UserView]]:
    """Users by id: all, or those with a role, or the active or deactivated ones, or both."""
    query = ListQuery("users", role, active)
    after = query.key(cursor, UserKey).user_id if cursor else ""
    summary, as_of = await request.read(request.stores.postgres("summary"))
    rows = await summary.fetch(LIST, role, active, after, limit + 1)
    following = query.cursor(UserKey(rows[limit - 1]["user_id"])) if len(rows) > limit else None
    return conditional_response(request, page((row["item"] for row in rows[:limit]), following), as_of)


@read_route(
    "/users/{user_id:str}/audit",
    needs="queries:accounts",
    one=True,
    tags=["users"],
    summary="Who changed a user, when, and what",
)
async def user_audit(
    request: QueryRequest, user_id: UserId, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Response[Page[UserAuditEntry]]:
    """Every change of a user, from the creation on: who requested it, when, and the values before and after.

    A command that set what was set already changed nothing, and is not here. `actor` is what the sender of the command says.
    """
    summary = request.stores.postgres("summary")
    return await versions_page(request, summary, AUDIT, "user-audit", "user", user_id, limit, cursor)


@read_route(
    "/users/{user_id:str}/at",
    needs="queries:accounts",
    one=True,
    tags=["users"],
    summary="A user as of an earlier time",
)
async def user_at(request: QueryRequest, user_id: UserId, time: RequiredTime) -> Response[UserView]:
    """The user as they were at `time`, changes at that very time included: the audit up to then, replayed.

    404 `user-not-created-yet`: the user was created later. For a time after `Tidemark-As-Of` it is the state that is known now.
    """
    moment = parse_time("time", time)
    summary, as_of = await request.read(request.stores.postgres("summary"))
    state = await _state_at(summary, user_id, moment)
    if state is None:
        created = await summary.fetchrow(CREATED_AT, user_id)
        if created is None:
            raise NotFoundError("user", user_id, as_of)
        detail = f"user {user_id} did not exist at {_text(moment)}: it was created at {_text(created['at'])}"
        raise Problem(detail, status=404, code="user-not-created-yet", headers=as_of)
    return conditional_response(request, msgspec.json.encode(state), as_of, state["version"])


async def _state_at(summary: PostgresStore, user_id: str, moment: datetime) -> dict[str, Any] | None:
    """None: there is no user, or not yet."""
    state: dict[str, Any] = {}
    while True:
        rows = await summary.fetch(CHANGES_UNTIL, user_id, state.get("version", 0), moment, PAGE)
        changes = (AuditedChange(row["version"], row["at"], msgspec.json.decode(row["after"])) for row in rows)
        state = replayed(state, changes)
        if len(rows) < PAGE:
            return state or None


def _text(moment: datetime) -> str:
    return msgspec.json.encode(moment).decode().strip('"')


STORED: Final = {("summary", "users"): StoredDocument(USER, "queries:accounts")}
ROUTES: Final = (
    user,
    users,
    user_audit,
    user_at,
)
