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
    down = await _each(request.stores, _down)
    if down:
        raise NotServingError("; ".join(down), headers={"Retry-After": "1"})
    return Health(status="serving")


@get("/health/ready", responses=READINESS, tags=["operations"], summary="Is all well")
async def ready(request: QueryRequest) -> Health:
    """Whether every read store answers, every projection moves, news come in, and every process of the system is well.

    Not ready means that answers may be growing old: `/freshness` says how old. They are given all the same; see `/health/serving`.
    """
    stores = request.stores
    said = [stores.news_trouble(), stores.processes.trouble(), *await _each(stores, _standing_still)]
    wrong = list(dict.fromkeys(words for words in said if words))
    if wrong:
        raise NotReadyError("; ".join(wrong), headers={"Retry-After": "1"})
    return Health(status="ready")


async def _each(stores: Stores, look: Any) -> Sequence[str]:
    """What is wrong with each projection, after its name."""
    found = await asyncio.gather(*(look(stores, active) for active in stores.all))
    return [f"{active.projection}: {words}" for active, words in zip(stores.all, found, strict=True) if words]


async def _down(_: Stores, active: ActiveGeneration[Any]) -> str | None:
    async def asked() -> None:
        store: ReadStore = await active.store()
        await store.ping()

    try:
        await promptly(asked(), active.projection)
    except StoreDownError as error:
        return error.reason
    return None


async def _standing_still(stores: Stores, active: ActiveGeneration[Any]) -> str | None:
    try:
        found = await promptly(stores.movements[active.projection].freshness(), active.projection)
    except StoreDownError as error:
        return error.reason
    return found.reason if found.status is FreshnessStatus.STALLED else None


ROUTES: Final = (
    live,
    ready,
    serving,
)
