"""The freshness of each projection. An unavailable store is reported in its own entry and does not affect the others."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
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
from shared.views.processes import FAILED
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


class ManagerFreshness(Freshness):
    """A process manager: how far it has read, and whether processes of it wait for an operator."""

    failed: int
    """Processes that have failed: each keeps its inputs, in order, until an operator retries it."""
    attention: str | None
    """What an operator has to do about them, in words; null: nothing."""


class FreshnessReport(BaseModel):
    """Every projection, in the order summary, analytics, search; every process manager; and every process that has reported recently."""

    projections: list[Freshness | Unavailable]
    process_managers: list[ManagerFreshness | Unavailable]
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
    null if nothing is known to be missing. `process_managers`: the same of each process manager, and how many of its processes have
    failed; `attention` then says what to do. The header `Tidemark-As-Of` is the oldest `as_of`.
    """
    found = await asyncio.gather(*(freshness_of(request, active) for active in request.stores.all))
    managers = await asyncio.gather(*(_manager(request, name) for name in request.stores.process_monitors))
    times = [one.as_of for one in found if isinstance(one, Freshness)]
    oldest = {HEADER: rfc3339(min(known))} if (known := [time for time in times if time]) else {}
    processes = process_reports(request)
    return conditional_response(
        request,
        FreshnessReport(projections=found, process_managers=managers, processes=processes).model_dump_json().encode(),
        oldest,
    )


def process_reports(request: QueryRequest) -> list[ProcessReport]:
    return [
        ProcessReport(process=name, heard_seconds_ago=round(seconds, 1), troubles=troubles)
        for name, seconds, troubles in request.stores.processes.all()
    ]


async def freshness_of(request: QueryRequest, active: ActiveGeneration[Any]) -> Freshness | Unavailable:
    try:
        return await promptly(request.stores.monitors[active.projection].freshness(), active.projection)
    except StoreDownError as error:
        return Unavailable(projection=active.projection, error=error.reason)


async def _manager(request: QueryRequest, name: str) -> ManagerFreshness | Unavailable:
    stores = request.stores

    async def read() -> ManagerFreshness:
        found = await stores.process_monitors[name].freshness()
        store = await stores.process_manager(name).store()
        row = await store.fetchrow(FAILED)
        failed = row["failed"] if row is not None else 0
        attention = None if row is None or not failed else _attention(name, failed, row["example"], row["since"])
        return ManagerFreshness(**found.model_dump(), failed=failed, attention=attention)

    try:
        return await promptly(read(), name)
    except StoreDownError as error:
        return Unavailable(projection=name, error=error.reason)


def _attention(name: str, failed: int, example: str, since: datetime | None) -> str:
    which = f"process {example} has" if failed == 1 else f"{failed} processes have, for example {example},"
    when = f" since {rfc3339(since)}" if since is not None else ""
    return f"{which} failed{when}: see `tidemark processes show {name} {example}`, fix the cause, then `tidemark processes retry`"


ROUTES: Final = (freshness,)
