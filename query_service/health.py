"""Liveness: the process answers. Readiness: every read store answers, too."""

import asyncio
from typing import Any, Literal

from litestar import get
from pydantic import BaseModel

from query_service.active import Active
from query_service.documented import LIVENESS, READINESS
from query_service.problems import StoreDownError
from query_service.requests import QueryRequest
from query_service.stores import ReadStore, promptly
from shared.problems import Problem


class Health(BaseModel):
    status: Literal["live", "ready"]


class NotReadyError(Problem):
    """503: at least one read store does not answer; the detail names each and why."""

    status = 503
    code = "not-ready"


@get("/health/live", responses=LIVENESS, tags=["operations"], summary="Is it alive")
async def live() -> Health:
    """Whether the process serves at all; no store is asked."""
    return Health(status="live")


@get("/health/ready", responses=READINESS, tags=["operations"], summary="Are its stores there")
async def ready(request: QueryRequest) -> Health:
    """Whether every read store answers. Routes whose own store is up work even when this does not."""
    stores = request.stores.all
    reasons = await asyncio.gather(*(_reason(store) for store in stores))
    down = [f"{store.projection}: {reason}" for store, reason in zip(stores, reasons, strict=True) if reason]
    if down:
        raise NotReadyError("; ".join(down), headers={"Retry-After": "1"})
    return Health(status="ready")


async def _reason(active: Active[Any]) -> str | None:
    async def asked() -> None:
        store: ReadStore = await active.store()
        await store.ping()

    try:
        await promptly(asked(), active.projection)
    except StoreDownError as error:
        return error.reason
    return None
