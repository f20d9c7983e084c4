"""``GET /status``: the state of the whole system in one answer: what is lost, held, growing, late or stopped, and where to look.

It says what ``tidemark status`` says (``shared.status``), without the outbox of the write database, which queries never reach: an outbox
that grows shows in the projections' age, and in what the relay reports. A part that does not answer is named, and hides no other.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

from litestar import Response, get
from pydantic import BaseModel, Field

from query_service.http.conditional import conditional_response
from query_service.http.openapi import UNREAD
from query_service.http.problems import StoreDownError
from query_service.http.requests import QueryRequest
from query_service.routes.operations.freshness import ProcessReport, freshness_of, process_reports
from query_service.stores.port import promptly
from shared.http.identities.guard import Authenticator
from shared.status.findings import Health, Kind, findings, health, hints, verdict
from shared.status.reading import GROUPS, JOBS, VERIFIED
from shared.status.snapshot import Job, LetterGroup, ReportedProcess, Snapshot, Verification
from shared.views.processes import FIGURES, ProcessFigures
from shared.views.progress import Freshness

OPERATIONS: Final = "the operations database"
MANAGERS: Final = "the process managers' database"


class FindingView(BaseModel):
    """One thing that is wrong."""

    kind: Kind
    where: str
    what: str
    next: str | None = Field(description="The command to type about it.")
    see: str | None = Field(description="The path of this service that says more.")


class StatusView(BaseModel):
    """The parts that an answer does not know of are in `down`; their members are null then."""

    at: datetime
    health: Health = Field(description="`broken`: something is lost or stopped; `attention`: held, growing or late.")
    verdict: str = Field(description="The same in one sentence.")
    findings: list[FindingView] = Field(description="Ordered by kind, the worst first.")
    hints: list[str]
    down: dict[str, str] = Field(description="Part → why nothing is known of it.")
    projections: list[Freshness] | None
    processes: list[ProcessReport]
    process_managers: list[ProcessFigures] | None
    dead_letters: int | None = Field(description="Live ones, of the 100 largest groups.")
    verified_at: datetime | None
    verified_differences: int | None


@get(
    "/status",
    needs="operations:read",
    responses=UNREAD,
    tags=["operations"],
    summary="What is lost, held, growing, late or stopped",
)
async def status(request: QueryRequest) -> Response[StatusView]:
    """One sentence on the state of the system, and every finding behind it with what to do about it."""
    found = await snapshot(request)
    every = findings(found)
    view = StatusView(
        at=found.at,
        health=health(every),
        verdict=verdict(every),
        findings=[
            FindingView(kind=each.kind, where=each.where, what=each.what, next=each.next or None, see=each.see or None)
            for each in every
        ],
        hints=list(hints(found)),
        down=found.down,
        projections=None if found.projections is None else list(found.projections),
        processes=process_reports(request),
        process_managers=None if found.process_managers is None else list(found.process_managers),
        dead_letters=None if found.groups is None else sum(group.count for group in found.groups),
        verified_at=found.verified.finished_at if found.verified is not None else None,
        verified_differences=found.verified.differences if found.verified is not None else None,
    )
    return conditional_response(request, view.model_dump_json().encode(), {})


async def snapshot(request: QueryRequest) -> Snapshot:
    found = Snapshot(datetime.now(UTC))
    await asyncio.gather(
        _projections(found, request),
        _part(found, OPERATIONS, lambda: _operations(found, request)),
        _part(found, MANAGERS, lambda: _process_managers(found, request)),
    )
    found.reported = [
        ReportedProcess(each.process, each.heard_seconds_ago, dict(each.troubles)) for each in process_reports(request)
    ]
    authenticator: Authenticator = request.app.state.authenticator
    troubles = (request.stores.changes_trouble(), authenticator.trouble)
    found.readiness["query"] = "; ".join(filter(None, troubles)) or None
    return found


async def _part(found: Snapshot, name: str, work: Callable[[], Awaitable[None]]) -> None:
    try:
        await promptly(work(), name)
    except StoreDownError as error:
        found.down[name] = error.reason


async def _projections(found: Snapshot, request: QueryRequest) -> None:
    every = await asyncio.gather(*(freshness_of(request, active) for active in request.stores.all))
    found.projections = [one for one in every if isinstance(one, Freshness)]
    found.unavailable = {one.projection: one.error for one in every if not isinstance(one, Freshness)}


async def _operations(found: Snapshot, request: QueryRequest) -> None:
    store = request.stores.operations
    groups, jobs, verified = await asyncio.gather(store.fetch(GROUPS), store.fetch(JOBS), store.fetchrow(VERIFIED))
    found.groups = [LetterGroup(**row) for row in groups]
    found.jobs = [Job(**row) for row in jobs]
    found.verified = Verification(**verified) if verified is not None else None


async def _process_managers(found: Snapshot, request: QueryRequest) -> None:
    figures = []
    for name in request.stores.process_monitors:
        store = await request.stores.process_manager(name).store()
        [row] = await store.fetch(FIGURES)
        figures.append(ProcessFigures(name=name, **row))
    found.process_managers = figures


ROUTES: Final = (status,)
