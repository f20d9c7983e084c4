"""Liveness: the process answers. Serving: every read store answers. Readiness: and nothing stands still, so that answers come to be new.

Who chooses where to send queries asks ``/health/serving``: old answers, which say how old they are, are better than none. Who wants to
know whether the system is well asks ``/health/ready``.
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
from shared.http.problems import Problem
from shared.views.progress import FreshnessStatus


class Health(BaseModel):
    status: Literal["live", "serving", "ready"]


class NotReadyError(Problem):
    """503: something stands still, or a read store does not answer; the detail says what, and why."""

    status = 503
    code = "not-ready"


class NotServingError(Problem):
    """503: at least one read store does not answer; the detail names each and why."""

    status = 503
    code = "not-serving"


@get("/health/live", responses=LIVENESS, tags=["operations"], summary="Is it alive")
async def live() -> Health:
    """Whether the process serves at all; no store is asked."""
    return Health(status="live")


@get("/health/serving", responses=SERVING, tags=["operations"], summary="Can it answer")
async def serving(request: QueryRequest) -> Health:
    """Whether every read store answers. Routes whose own store is up work even when this does not."""
    down = await _problems(request.stores, _down_reason)
    if down:
        raise NotServingError("; ".join(down), headers={"Retry-After": "1"})
    return Health(status="serving")


@get("/health/ready", responses=READINESS, tags=["operations"], summary="Is all well")
async def ready(request: QueryRequest) -> Health:
    """Whether every read store answers, every projection moves, news come in, and every process of the system is well.

    Not ready means that answers may be growing old: `/freshness` says how old. They are given all the same; see `/health/serving`.
    """
    stores = request.stores
    reports = [stores.changes_trouble(), stores.processes.trouble(), *await _problems(stores, _stalled_reason)]
    wrong = list(dict.fromkeys(reason for reason in reports if reason))
    if wrong:
        raise NotReadyError("; ".join(wrong), headers={"Retry-After": "1"})
    return Health(status="ready")


async def _problems(stores: Stores, check: Any) -> Sequence[str]:
    """What is wrong with each projection, after its name."""
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


async def _stalled_reason(stores: Stores, active: ActiveGeneration[Any]) -> str | None:
    try:
        found = await promptly(stores.monitors[active.projection].freshness(), active.projection)
    except StoreDownError as error:
        return error.reason
    return found.reason if found.status is FreshnessStatus.STALLED else None


ROUTES: Final = (
    live,
    ready,
    serving,
)
