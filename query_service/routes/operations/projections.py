"""Generations and lanes of read models. Acts on generations are in ``generation_acts``."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from litestar import Response, get
from litestar.params import PathParameter
from pydantic import BaseModel, Field

from query_service.http.conditional import conditional_response
from query_service.http.openapi import UNREAD, problem_response
from query_service.http.problems import StoreDownError
from query_service.http.requests import QueryRequest
from query_service.stores.active_generation import ActiveGeneration
from query_service.stores.port import LaneProgress, promptly
from shared.http.problems import Problem
from shared.messaging import topology
from shared.read_models import NAMES, StoreKind, named
from shared.views.generations import Generation, GenerationState, has
from shared.views.operations_queries import QUEUE_DEPTHS

Name = Annotated[str, PathParameter(description=f"A projection: {', '.join(NAMES)}.")]


class GenerationView(BaseModel):
    """One build of a read model."""

    number: int
    state: GenerationState
    active: bool = Field(description="Queries are answered from it.")
    begun_at: datetime
    ready_at: datetime | None
    activated_at: datetime | None = Field(description="When it last became active.")
    scanned: int = Field(description="Events of history that have been applied.")
    total: int | None = Field(description="Events of history; null: they are not counted yet.")
    done: bool = Field(description="All of history has been applied.")
    rate_limit: float | None = Field(description="At most so many events of history a second.")
    events_per_second: float | None = Field(description="Events of history a second, on average since it was begun.")
    seconds_left: float | None = Field(
        description="At that rate, until all of history is applied; null: unknown, or done."
    )
    epoch: str | None
    ahead: int = Field(description="Streams that are ahead of the write database.")
    kinds: list[str] = Field(description="The kinds of stream that it has.")


class LaneView(BaseModel):
    """A lane, as the active generation has it, and its queue."""

    lane: int
    as_of: datetime | None = Field(
        description="Everything of the lane that was committed before is applied, or held; null: nothing has arrived."
    )
    lag_seconds: float | None = Field(description="The age of `as_of`; heartbeats come once a second.")
    events_applied: int
    messages: int | None = Field(
        description="Messages that wait in its queue, without those that the projector has; null: not known."
    )
    consumers: int | None = Field(description="Processes that may read the queue, of which one does; null: not known.")
    counted_at: datetime | None = Field(description="When these were counted: every few seconds.")


class ProjectionView(BaseModel):
    """A read model and its generations, by number."""

    projection: str
    store: StoreKind
    kinds: list[str] = Field(description="The kinds of stream that it reads.")
    generations: list[GenerationView]
    lanes: list[LaneView] = Field(description="By number.")
    error: str | None = Field(description="Why its store does not answer; null: it does.")


class ProjectionsView(BaseModel):
    items: list[ProjectionView]


Depths = Mapping[tuple[str, int], Mapping[str, Any]]
"""Projection and lane → its queue."""
_LANE_OF: Final = {
    topology.lane_queue(name, lane): (name, lane) for name in NAMES for lane in range(topology.MAX_LANES)
}
_NO_PROJECTION: Final = problem_response(
    404, "There is no such projection.", "projection-not-found", "there is no projection x", "/projections/x"
)


@get(
    "/projections",
    needs="projections:read",
    responses=UNREAD,
    tags=["operations"],
    summary="Read models and their generations",
)
async def projections(request: QueryRequest) -> Response[ProjectionsView]:
    """Every generation with its state, and how far a rebuild has come; each lane with its lag, and what waits in its queue.

    A store that does not answer is named in its own entry.
    """
    depths = await _depths(request)
    found = await asyncio.gather(*(_view(active, depths) for active in request.stores.all))
    return conditional_response(request, ProjectionsView(items=found).model_dump_json().encode(), {})


@get(
    "/projections/{name:str}",
    needs="projections:read",
    responses={**UNREAD, 404: _NO_PROJECTION},
    tags=["operations"],
    summary="One read model and its generations",
)
async def projection(request: QueryRequest, name: Name) -> Response[ProjectionView]:
    """The generations and the lanes of one read model."""
    found = await _view(named_projection(request, name), await _depths(request))
    return conditional_response(request, found.model_dump_json().encode(), {})


def named_projection(request: QueryRequest, name: str) -> ActiveGeneration[Any]:
    """Raises Problem 404."""
    for active in request.stores.all:
        if active.projection == name:
            return active
    there_are = ", ".join(active.projection for active in request.stores.all)
    raise Problem(f"there is no projection {name}; there are {there_are}", status=404, code="projection-not-found")


async def _view(active: ActiveGeneration[Any], depths: Depths) -> ProjectionView:
    error = None
    generations: Sequence[Generation] = ()
    progress: Sequence[LaneProgress] = ()
    try:
        generations, progress = await promptly(_read(active), active.projection)
    except StoreDownError as down:
        error = down.reason
    model = named(active.projection)
    return ProjectionView(
        projection=model.name,
        store=model.store,
        kinds=list(model.kinds),
        generations=[_generation(one) for one in generations],
        lanes=_lanes(active.projection, progress, depths, datetime.now(UTC)),
        error=error,
    )


async def _read(active: ActiveGeneration[Any]) -> tuple[Sequence[Generation], Sequence[LaneProgress]]:
    store = await active.store()
    generations: Sequence[Generation]
    lanes: Sequence[LaneProgress]
    generations, lanes = await asyncio.gather(store.generations(), store.lanes())
    return generations, lanes


async def _depths(request: QueryRequest) -> Depths:
    """As counted last; empty while the operations database does not answer."""
    try:
        rows = await promptly(request.stores.operations.fetch(QUEUE_DEPTHS), "operations")
    except StoreDownError:
        return {}
    return {_LANE_OF[row["queue"]]: dict(row) for row in rows if row["queue"] in _LANE_OF}


def _lanes(projection: str, progress: Sequence[LaneProgress], counted: Depths, now: datetime) -> list[LaneView]:
    known = {each.lane: each for each in progress}
    depths = {lane: depth for (name, lane), depth in counted.items() if name == projection}
    found = []
    for lane in sorted(known.keys() | depths.keys()):
        reached, depth = known.get(lane) or LaneProgress(lane, None, 0), depths.get(lane, {})
        found.append(
            LaneView(
                lane=lane,
                as_of=reached.as_of,
                lag_seconds=None if reached.as_of is None else round((now - reached.as_of).total_seconds(), 3),
                events_applied=reached.events_applied,
                messages=depth.get("messages"),
                consumers=depth.get("consumers"),
                counted_at=depth.get("counted_at"),
            )
        )
    return found


def _generation(one: Generation) -> GenerationView:
    seconds = ((one.ready_at or one.updated_at) - one.begun_at).total_seconds()
    speed = round(one.scanned / seconds, 1) if one.scanned and seconds > 0 else None
    left = None
    if one.state is GenerationState.BUILDING and speed and one.total is not None and not one.done:
        left = round(max(0, one.total - one.scanned) / speed, 1)
    shown = one.model_dump(include=set(GenerationView.model_fields) - {"kinds"})
    return GenerationView(
        **shown, rate_limit=one.rate, events_per_second=speed, seconds_left=left, kinds=list(has(one.kinds))
    )


ROUTES: Final = (
    projections,
    projection,
)
