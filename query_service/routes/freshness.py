"""How far each projection has come. A store that is down says so in its entry and takes nothing from the others."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from litestar import Response, get
from pydantic import BaseModel

from query_service.consistency.as_of import HEADER, rfc3339
from query_service.http.conditional import conditional_response
from query_service.http.openapi import RESPONSES
from query_service.http.problems import StoreDownError
from query_service.http.requests import QueryRequest
from query_service.stores.active_generation import ActiveGeneration
from query_service.stores.port import promptly
from shared.views.progress import Freshness


class Unavailable(BaseModel):
    """A projection whose store does not answer, and why."""

    projection: str
    error: str


class ProcessReport(BaseModel):
    """A process of the system, as it says itself that it is."""

    process: str
    heard_seconds_ago: float
    """Each says something once a second."""
    troubles: Mapping[str, str]
    """Component → what is wrong with it; empty: it is well."""


class FreshnessReport(BaseModel):
    """Every projection, in the order events are easiest followed: summary, analytics, search. And whoever has been heard lately."""

    projections: list[Freshness | Unavailable]
    processes: list[ProcessReport]


@get(
    "/freshness",
    responses={key: RESPONSES[key] for key in (304, 400)},
    tags=["operations"],
    summary="How far each projection has come",
)
async def freshness(request: QueryRequest) -> Response[FreshnessReport]:
    """For each projection: everything committed before `as_of` is in its answers, or its stream is held.

    `status` is `current`, `behind` (not current, and coming on) or `stalled` (nothing new has come for some seconds, or can come, as no
    command is decided; `reason` says why). `processes`: what the worker, the relay and the projectors say of themselves, once a second.
    `stopped` says why nothing is applied after the write database was set back, and whether that waits for an operator.
    `as_of` is null before the first heartbeat; `held` counts streams that wait for something. `oldest_unapplied_seconds`: of
    held streams, since the first failure of the one held longest; of a projection that is not current, the age of `as_of`; null
    when nothing is known to be missing. The header `Tidemark-As-Of` is the oldest of them.
    """
    found = await asyncio.gather(*(_freshness_of(request, active) for active in request.stores.all))
    times = [one.as_of for one in found if isinstance(one, Freshness)]
    oldest = {HEADER: rfc3339(min(known))} if (known := [time for time in times if time]) else {}
    processes = [
        ProcessReport(process=name, heard_seconds_ago=round(seconds, 1), troubles=troubles)
        for name, seconds, troubles in request.stores.processes.all()
    ]
    return conditional_response(
        request, FreshnessReport(projections=found, processes=processes).model_dump_json().encode(), oldest
    )


async def _freshness_of(request: QueryRequest, active: ActiveGeneration[Any]) -> Freshness | Unavailable:
    try:
        return await promptly(request.stores.monitors[active.projection].freshness(), active.projection)
    except StoreDownError as error:
        return Unavailable(projection=active.projection, error=error.reason)


ROUTES: Final = (freshness,)
