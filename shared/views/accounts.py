"""Users in the summary, written by the projector and returned by the query service.

Tables: ``users``, whose ``doc`` is a UserView, and ``user_audit``, one row for each change (``projectors/models/summary/migrations``).
"""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field


class UserView(BaseModel):
    """A user, now or at an earlier version."""

    user_id: str
    name: str
    email: str
    role: str
    active: bool
    deactivation_reason: str | None = None
    """Null: the user is active."""
    created_at: datetime
    updated_at: datetime
    version: int


class UserAuditEntry(BaseModel):
    """One change of a user. ``before`` and ``after`` have the fields of UserView that it changed; ``before`` of a creation is empty."""

    version: int
    type: str
    at: datetime
    actor: str | None = Field(description="Who requested it, as the sender of the command says; null: it named nobody.")
    before: dict[str, Any]
    after: dict[str, Any]
