"""Acts on the generations of a read model: each is a request to the projection's processes, and the response is their reply.

    POST ──identity, body──▶ [control] ──▶ projector ──▶ reply queue ──▶ 200 or 202, or a problem with the projector's code

A repeated request with the same ``Idempotency-Key`` has no further effect.
"""

from typing import Any, Final

from litestar import Response, post
from pydantic import BaseModel, Field

from query_service.http import operators
from query_service.http.acting import Reasoned, body_of, require_acts_allowed
from query_service.http.operator_openapi import ALWAYS_DONE, ActionOperation
from query_service.http.requests import QueryRequest
from query_service.routes.operations.projections import Name, named_projection
from shared.messages.control import Activate, AdoptEpoch, Drop, Rebuild, Rollback
from shared.messaging.operators.generations_client import Act
from shared.views.generations import GenerationsChanged, next_free


class RebuildBody(Reasoned):
    rate: float | None = Field(None, gt=0, le=1_000_000, description="At most so many events of history a second.")


class GenerationBody(Reasoned):
    generation: int = Field(ge=1, le=9999)


class RebuildOperation(ActionOperation):
    act = RebuildBody


class RollbackOperation(ActionOperation):
    act = Reasoned


class GenerationOperation(ActionOperation):
    act = GenerationBody


_ACT: Final[dict[str, Any]] = {
    "responses": ALWAYS_DONE,
    "tags": ["operations"],
}


@post(
    "/projections/{name:str}/rebuild",
    needs="projections:rebuild",
    operation_class=RebuildOperation,
    summary="Build a new generation from history",
    status_code=202,
    **_ACT,
)
async def rebuild(request: QueryRequest, name: Name) -> Response[GenerationsChanged]:
    """Beside the active one, which nothing changes. There is one at a time: 409 `rebuild-under-way` while there is."""
    active, request_id = named_projection(request, name), operators.request_id(request)
    known = await (await active.store()).generations()
    begun = next((one.number for one in known if one.begun_by == request_id), None)
    number = begun or next_free(known)
    return await _act(request, request_id, Rebuild, RebuildBody, projection=name, generation=number)


@post(
    "/projections/{name:str}/activate",
    needs="projections:activate",
    operation_class=GenerationOperation,
    summary="Answer queries from another generation",
    status_code=200,
    **_ACT,
)
async def activate(request: QueryRequest, name: Name) -> Response[GenerationsChanged]:
    """At once; no query reads from two generations. The one before still follows live events, so that `rollback` loses nothing."""
    named_projection(request, name)
    return await _act(request, operators.request_id(request), Activate, GenerationBody, projection=name)


@post(
    "/projections/{name:str}/rollback",
    needs="projections:activate",
    operation_class=RollbackOperation,
    summary="Answer queries from the previously active generation again",
    status_code=200,
    **_ACT,
)
async def rollback(request: QueryRequest, name: Name) -> Response[GenerationsChanged]:
    """At once: it has all events."""
    named_projection(request, name)
    return await _act(request, operators.request_id(request), Rollback, Reasoned, projection=name)


@post(
    "/projections/{name:str}/adopt-epoch",
    needs="projections:activate",
    operation_class=GenerationOperation,
    summary="Go on with a generation although the write database was set back",
    status_code=200,
    **_ACT,
)
async def adopt_epoch(request: QueryRequest, name: Name) -> Response[GenerationsChanged]:
    """What the write database has lost stays in the read model. A rebuild makes all equal instead."""
    named_projection(request, name)
    return await _act(request, operators.request_id(request), AdoptEpoch, GenerationBody, projection=name)


@post(
    "/projections/{name:str}/drop",
    needs="projections:activate",
    operation_class=GenerationOperation,
    summary="Delete a generation that is not active, or stop one that is being built",
    status_code=200,
    **_ACT,
)
async def drop(request: QueryRequest, name: Name) -> Response[GenerationsChanged]:
    """There is no way back to it. Refused for the active one."""
    named_projection(request, name)
    return await _act(request, operators.request_id(request), Drop, GenerationBody, projection=name)


async def _act(
    request: QueryRequest, request_id: str, kind: type[Act], body: type[BaseModel], **values: object
) -> Response[GenerationsChanged]:
    given = await body_of(request, body)
    actor = operators.acting(request)["actor"]
    act = kind.model_validate({**given.model_dump(exclude_none=True), **values, "actor": actor})
    await require_acts_allowed(request)
    done = await request.operators.ask_projector(act, request_id)
    return operators.answer(
        done.model_dump_json().encode(), request_id, status=202 if isinstance(act, Rebuild) else 200
    )


ROUTES: Final = (
    rebuild,
    activate,
    rollback,
    adopt_epoch,
    drop,
)
