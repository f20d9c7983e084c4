"""Verifications and comparisons that were asked for, as the query service answers with them. ``request`` and ``result`` are JSON text."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel, Field


class CheckKind(StrEnum):
    VERIFY = "verify"
    COMPARE = "compare"


class CheckState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


class CheckView(BaseModel):
    """One check, without its result."""

    id: int
    request_id: str
    kind: CheckKind
    request: dict[str, Any] = Field(description="What was asked for: projections, sample, heal, generation, against.")
    actor: str
    reason: str
    state: CheckState
    cancelled: bool = Field(description="It was asked to end.")
    progress: str = Field(description="The latest line that it has said of itself.")
    equal: bool | None = Field(description="Of a finished one: nothing is wrong.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: str | None = Field(description="Why it has failed.")


class CheckDetail(CheckView):
    """With its result."""

    result: dict[str, Any] | None = Field(
        description="What `tidemark verify --output json`, or `tidemark projections compare --output json`, says."
    )


CHECKS: Final = """
SELECT id, request_id, kind, request::text AS request, actor, reason, state, cancelled, progress, equal, created_at, started_at,
    finished_at, error
FROM checks WHERE id < $1 AND ($2::text IS NULL OR kind = $2) ORDER BY id DESC LIMIT $3
"""
"""$1: the last id of the previous page, or the largest there is; $2: of this kind only; $3: the limit."""

CHECK: Final = """
SELECT id, request_id, kind, request::text AS request, actor, reason, state, cancelled, progress, equal, created_at, started_at,
    finished_at, error, result::text AS result
FROM checks WHERE id = $1
"""
