"""Liveness: the process answers. Serving: every read store answers. Readiness: additionally, no component is stalled.

Load balancers should use ``/health/serving``: old data, which states its age, is better than none. Monitoring should use
``/health/ready``.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, Literal

from litestar import get
from pydantic import BaseModel

from query_service.http.openapi import LIVENESS, READINESS, SERVING
from query_service.http.problems import StoreDownError
from query_service.http.requests import QueryRequest, Stores
from query_service.stores.active_generation import ActiveGeneration
from query_service.stores.port import ReadStore, promptly
from shared.http.identities.guard import PUBLIC, Authenticator
from shared.http.problems import Problem
from shared.views.progress import FreshnessStatus


class Health(BaseModel):
    status: Literal["live", "serving", "ready"]


class NotReadyError(Problem):
    """503: a component is stalled, or a read store does not answer; the detail states which, and why."""

    status = 503
    code = "not-ready"


class NotServingError(Problem):
    """503: at least one read store does not answer; the detail states which, and why."""

    status = 503
    code = "not-serving"


@get("/health/live", needs=PUBLIC, responses=LIVENESS, tags=["operations"], summary="Liveness")
async def live() -> Health:
    """Whether the process answers; no store is read."""
    return Health(status="live")


@get("/health/serving", needs=PUBLIC, responses=SERVING, tags=["operations"], summary="Can queries be answered")
async def serving(request: QueryRequest) -> Health:
    """Whether every read store answers. If not, routes whose own store is available still work."""
    down = await _problems(request.stores, _down_reason)
    if down:
        raise NotServingError("; ".join(down), headers={"Retry-After": "1"})
    return Health(status="serving")


@get("/health/ready", needs=PUBLIC, responses=READINESS, tags=["operations"], summary="Readiness")
async def ready(request: QueryRequest) -> Health:
    """Whether every read store answers, no projection is stalled or incomplete, changes are received, credentials can be
    checked, and no process reports a problem.

    While not ready, queries are still answered, but their data may be growing old: see `/freshness` for its age, and `/health/serving`.
    """
    stores = request.stores
    authenticator: Authenticator = request.app.state.authenticator
    reports = [
        stores.changes_trouble(),
        stores.processes.trouble(),
        authenticator.trouble,
        *await _problems(stores, _problem),
    ]
    wrong = list(dict.fromkeys(reason for reason in reports if reason))
    if wrong:
        raise NotReadyError("; ".join(wrong), headers={"Retry-After": "1"})
    return Health(status="ready")


async def _problems(stores: Stores, check: Any) -> Sequence[str]:
    """The problems of the projections, each prefixed by the projection's name."""
    found = await asyncio.gather(*(check(stores, active) for active in stores.all))
    return [f"{active.projection}: {reason}" for active, reason in zip(stores.all, found, strict=True) if reason]


async def _down_reason(_: Stores, active: ActiveGeneration[Any]) -> str | None:
    async def ping() -> None:
        store: ReadStore = await active.store()
        await store.ping()

    try:
        await promptly(ping(), active.projection)
    except StoreDownError as error:
        return error.reason
    return None


async def _problem(stores: Stores, active: ActiveGeneration[Any]) -> str | None:
    try:
        found = await promptly(stores.monitors[active.projection].freshness(), active.projection)
    except StoreDownError as error:
        return error.reason
    said = [
        found.reason if found.status is FreshnessStatus.STALLED else None,
        found.incomplete.detail if found.incomplete is not None else None,
    ]
    return "; ".join(words for words in said if words) or None


ROUTES: Final = (
    live,
    ready,
    serving,
)
