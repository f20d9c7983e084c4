"""How far each read model has come with one stream, and what it keeps for it."""

import asyncio
from typing import Annotated, Any, Final

from litestar import Response, get
from litestar.params import PathParameter
from pydantic import BaseModel, Field
from pydantic_core import from_json

from query_service.http.conditional import conditional_response
from query_service.http.documents import StoredDocument
from query_service.http.openapi import UNREAD, problem_response
from query_service.http.parameters import parse_id
from query_service.http.problems import StoreDownError
from query_service.http.requests import QueryRequest
from query_service.stores.active_generation import ActiveGeneration
from query_service.stores.port import promptly
from shared.contracts.registry import KINDS
from shared.http.identities.identity import identity_of
from shared.http.problems import Problem

Kind = Annotated[str, PathParameter(description=f"The kind of stream: {', '.join(KINDS)}.")]
StreamId = Annotated[str, PathParameter(description="The id in it.")]


class HeldView(BaseModel):
    """Why a stream does not advance."""

    status: str
    version: int = Field(description="The version that holds it.")
    reason: str
    seen: int = Field(description="The highest version that waits behind it.")


class StreamPositionView(BaseModel):
    """How far one read model has come with a stream."""

    projection: str
    generation: int | None
    version: int | None = Field(description="0: no event of it has been applied; null: the store does not answer.")
    held: HeldView | None
    letter_id: int | None = Field(description="The dead letter that holds it, if it is dead.")
    document: dict[str, Any] | None = Field(
        description="What it has for the stream now; null: nothing, or no document (analytics keeps sums), or it is hidden."
    )
    document_hidden: str | None = Field(description="The scope that is needed to see it; null: it is not hidden.")
    error: str | None


class StreamPositionsView(BaseModel):
    stream: str
    items: list[StreamPositionView] = Field(description="Of the read models that read streams of its kind.")


_NO_KIND: Final = problem_response(
    404, "There is no such kind of stream.", "unknown-kind", "there is no kind of stream x", "/stream-positions/x/1"
)


@get(
    "/stream-positions/{kind:str}/{stream_id:str}",
    needs="projections:read",
    responses={**UNREAD, 404: _NO_KIND},
    tags=["operations"],
    summary="Which version of a stream each read model has",
)
async def stream_positions(request: QueryRequest, kind: Kind, stream_id: StreamId) -> Response[StreamPositionsView]:
    """For each read model that reads streams of this kind: its version of the stream, what holds it, and what it has stored.

    What led to it has the command service: `GET /streams/{kind}/{id}/events` (each event with its command and outcome), and
    `GET /streams/{kind}/{id}?at=` (the state as of a time).
    """
    if kind not in KINDS:
        detail = f"there is no kind of stream {kind}; there are {', '.join(KINDS)}"
        raise Problem(detail, status=404, code="unknown-kind")
    stream = f"{kind}/{parse_id('stream_id', stream_id)}"
    readers = [active for active in request.stores.all if active.reads(stream)]
    found = await asyncio.gather(*(_position(request, active, stream) for active in readers))
    body = StreamPositionsView(stream=stream, items=found).model_dump_json().encode()
    return conditional_response(request, body, {})


async def _position(request: QueryRequest, active: ActiveGeneration[Any], stream: str) -> StreamPositionView:
    name = active.projection
    try:
        store = await promptly(active.store(), name)
        position = (await promptly(store.positions([stream]), name)).get(stream)
        document, hidden = await _document(request, store, stream)
    except StoreDownError as down:
        return StreamPositionView(
            projection=name,
            generation=None,
            version=None,
            held=None,
            letter_id=None,
            document=None,
            document_hidden=None,
            error=down.reason,
        )
    hold = position.hold if position is not None else None
    held = HeldView(status=hold.status, version=hold.version, reason=hold.reason, seen=hold.seen) if hold else None
    letter_id = await request.stores.operations.holding(name, stream, hold.version) if hold and hold.dead else None
    applied = position.applied if position is not None else 0
    return StreamPositionView(
        projection=name,
        generation=store.number,
        version=applied,
        held=held,
        letter_id=letter_id,
        document=document,
        document_hidden=hidden,
        error=None,
    )


async def _document(request: QueryRequest, store: Any, stream: str) -> tuple[dict[str, Any] | None, str | None]:
    """The document, and the scope that is missing to see it. Raises StoreDownError."""
    kind, _, stream_id = stream.partition("/")
    stored: StoredDocument | None = request.app.state.stored_documents.get((store.projection, kind))
    if stored is None:
        return None, None
    if not identity_of(request).may(stored.needs):
        return None, stored.needs
    row = await promptly(store.fetchrow(stored.statement, stream_id), store.projection)
    return (None if row is None else from_json(row["body"])), None


ROUTES: Final = (stream_positions,)
