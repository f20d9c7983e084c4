"""The freshness of each projection. An unavailable store is reported in its own entry and does not affect the others."""

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
    """The state that a process of the system reports about itself."""

    process: str
    heard_seconds_ago: float
    """Seconds since its last report; each process reports once a second."""
    troubles: Mapping[str, str]
    """Component → its problem; empty: none."""


class FreshnessReport(BaseModel):
    """Every projection, in the order summary, analytics, search; and every process that has reported recently."""

    projections: list[Freshness | Unavailable]
    processes: list[ProcessReport]


@get(
    "/freshness",
    needs="queries:freshness",
    responses={key: RESPONSES[key] for key in (304, 400)},
    tags=["operations"],
    summary="Freshness of each projection",
)
async def freshness(request: QueryRequest) -> Response[FreshnessReport]:
    """For each projection: everything committed before `as_of` is in its responses, or its stream is held.

    `status` is `current`, `behind` (not current, and advancing) or `stalled` (it has not advanced for some seconds, or cannot, because no
    command is decided; `reason` states why). `processes`: the states that the worker, the relay and the projectors report once a second.
    `incomplete` names the kinds of stream that a projection reads and its active generation does not have yet: they need a rebuild.
    `stopped` states why nothing is applied after the write database was reset to an earlier state, and whether that needs an operator.
    `as_of` is null before the first heartbeat. `held` counts the held streams. `oldest_unapplied_seconds`: of held streams, the
    time since the first failure of the one held longest; of a projection that is not current, the age of `as_of`; the larger of the two;
    null if nothing is known to be missing. The header `Tidemark-As-Of` is the oldest `as_of`.
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
