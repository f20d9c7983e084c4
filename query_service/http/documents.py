"""Answers that most routes have in common: a stream's document, and a page of what happened to a stream, by version."""

from typing import Any, Final, NamedTuple

from litestar import Response

from query_service.http.conditional import conditional_response
from query_service.http.paging import ListQuery, VersionKey, page
from query_service.http.problems import NotFoundError
from query_service.http.requests import QueryRequest
from query_service.stores.active_generation import ActiveGeneration
from query_service.stores.postgres_store import PostgresStore

HISTORY: Final = """
SELECT version, json_build_object('version', version, 'type', type, 'actor', actor, 'data', data,
    'at', replace(to_jsonb(at) #>> '{}', '+00:00', 'Z'))::text AS item
FROM history WHERE stream = $1 AND version > $2 ORDER BY version LIMIT $3
"""


class StoredDocument(NamedTuple):
    """What a read model keeps for a stream of some kind. A module of routes may say so for what it reads, in ``STORED``:
    (read model, kind of stream) → this. Operators see it beside the stream's versions."""

    statement: str
    """$1: the id in the stream's name; returns ``body``, JSON text."""
    needs: str
    """The scope that its routes need."""


async def document(
    request: QueryRequest, active: ActiveGeneration[PostgresStore], statement: str, kind: str, id_: str
) -> Response[Any]:
    """The document that ``statement`` ($1: id) returns as ``body``, with its ``version``. Raises NotFoundError."""
    store, as_of = await request.read(active)
    row = await store.fetchrow(statement, id_)
    if row is None:
        raise NotFoundError(kind, id_, as_of)
    return conditional_response(request, row["body"].encode(), as_of, row["version"])


async def versions_page(
    request: QueryRequest,
    active: ActiveGeneration[PostgresStore],
    statement: str,
    route: str,
    kind: str,
    id_: str,
    limit: int,
    cursor: str | None,
    *,
    stream: str | None = None,
) -> Response[Any]:
    """A page of what ``statement`` ($1: ``stream``, or else the id; $2: after which version; $3: how many) returns as ``item``.

    ``route``: what the cursor is bound to, with the id. Raises NotFoundError where there is nothing from the first version on.
    """
    query = ListQuery(route, id_)
    after = query.key(cursor, VersionKey).version if cursor else 0
    store, as_of = await request.read(active)
    rows = await store.fetch(statement, stream or id_, after, limit + 1)
    if not rows and after == 0:
        raise NotFoundError(kind, id_, as_of)
    following = query.cursor(VersionKey(rows[limit - 1]["version"])) if len(rows) > limit else None
    return conditional_response(request, page((row["item"] for row in rows[:limit]), following), as_of)


async def history_page(
    request: QueryRequest, route: str, kind: str, id_: str, stream: str, limit: int, cursor: str | None
) -> Response[Any]:
    """A page of all events of a stream that the summary reads. Raises NotFoundError."""
    summary = request.stores.postgres("summary")
    return await versions_page(request, summary, HISTORY, route, kind, id_, limit, cursor, stream=stream)
