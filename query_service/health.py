"""Liveness: the process answers. Readiness: every read store answers, too."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Literal

from litestar import get
from pydantic import BaseModel

from query_service.problems import READINESS, Problem, StoreDownError
from query_service.requests import QueryRequest

DEADLINE_S: Final = 2.0


class Health(BaseModel):
    status: Literal["live", "ready"]


class NotReadyError(Problem):
    """503: at least one read store does not answer; the detail names each and why."""

    status = 503
    code = "not-ready"


@get("/health/live", tags=["operations"])
async def live() -> Health:
    """Whether the process serves at all; no store is asked."""
    return Health(status="live")


@get("/health/ready", responses=READINESS, tags=["operations"])
async def ready(request: QueryRequest) -> Health:
    """Whether every read store answers. Routes whose own store is up work even when this does not."""
    stores = request.stores.all
    reasons = await asyncio.gather(*(_reason(store.ping) for store in stores))
    down = [f"{store.projection}: {reason}" for store, reason in zip(stores, reasons, strict=True) if reason]
    if down:
        raise NotReadyError("; ".join(down), headers={"Retry-After": "1"})
    return Health(status="ready")


async def _reason(ping: Callable[[], Awaitable[None]]) -> str | None:
    try:
        async with asyncio.timeout(DEADLINE_S):
            await ping()
    except StoreDownError as error:
        return error.reason
    except TimeoutError:
        return "it did not answer in time"
    return None
