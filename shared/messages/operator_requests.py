"""Operators' requests to the dead-letter worker that are not about letters themselves; ``shared.messages.control`` has the others.

Each has its ``actor`` and a ``reason``; repeating a request with the same ``id`` is harmless.
"""

from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from shared.contracts.values import Actor, SafeText, Timestamp
from shared.messages.claimed_person import ClaimedPerson
from shared.messages.control import ControlData
from shared.read_models import NAMES

Because = Annotated[SafeText, Field(min_length=1, max_length=2000)]
Number = Annotated[int, Field(ge=1, le=9999)]


def _web_address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError("must be the address of a page: https://…")
    return text


def _read_model(name: str) -> str:
    if name not in NAMES:
        raise ValueError(f"there is no projection {name}; there are {', '.join(NAMES)}")
    return name


WebAddress = Annotated[
    SafeText, Field(max_length=500, json_schema_extra={"pattern": "^https?://"}), AfterValidator(_web_address)
]
Projection = Annotated[str, Field(json_schema_extra={"enum": list(NAMES)}), AfterValidator(_read_model)]

ANNOTATE: Final = "control.annotate"


class Annotate(ClaimedPerson, ControlData):
    """What is known of a cause of dead letters: replaces all that was said of it before; what is absent is cleared."""

    origin: Annotated[SafeText, Field(min_length=1, max_length=100)]
    fingerprint: Annotated[SafeText, Field(min_length=1, max_length=4000)]
    owner: Annotated[SafeText, Field(min_length=1, max_length=200)] | None = None
    note: Annotated[SafeText, Field(min_length=1, max_length=4000)] | None = None
    bug: WebAddress | None = None
    """The address of its report."""
    snoozed_until: Timestamp | None = None
    """Until then it is no finding of the system's state; its letters stay dead."""
    actor: Actor
    reason: Because


FORBID_ACTS: Final = "control.forbid-acts"


class ForbidActs(ClaimedPerson, ControlData):
    """Forbid operators' acts over HTTP, or allow them again."""

    on: bool
    actor: Actor
    reason: Because


CHECK: Final = "control.check"


class Check(ClaimedPerson, ControlData):
    """Verify read models against the event store, or compare two generations of one; ``deploy.checks`` carries it out."""

    kind: Literal["verify", "compare"]
    projections: Annotated[tuple[Projection, ...], Field(max_length=len(NAMES))] = ()
    """To verify: these; none: all. To compare: one."""
    sample: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    """Compare the content of so many random streams; None: of all. Of a comparison: how many differing rows to show for each table."""
    heal: bool = False
    """Have missing events sent again, and verify again."""
    generation: Number | None = None
    against: Number | None = None
    actor: Actor
    reason: Because

    @model_validator(mode="after")
    def _fits(self) -> "Check":
        if self.kind == "compare" and len(self.projections) != 1:
            raise ValueError("a comparison is of one projection")
        if self.kind == "compare" and self.heal:
            raise ValueError("a comparison heals nothing")
        if self.heal and self.sample is not None:
            raise ValueError("heal requires comparing all content: it must not send events again that are there")
        if self.kind == "verify" and (self.against is not None or self.generation is not None):
            raise ValueError("a verification is of the active generations")
        return self


ALERTS: Final = "control.alerts"
MAX_ALERTS: Final = 1000


class Alert(ControlData):
    """An alert as Alertmanager tells of it."""

    status: Literal["firing", "resolved"]
    labels: dict[SafeText, SafeText]
    annotations: dict[SafeText, SafeText]
    starts_at: Timestamp
    ends_at: Timestamp | None = None
    """Of one that is over."""
    fingerprint: Annotated[SafeText, Field(min_length=1, max_length=200)]
    """The same for the same labels."""


class ReportAlerts(ControlData):
    """Record alerts in the audit."""

    alerts: Annotated[tuple[Alert, ...], Field(max_length=MAX_ALERTS)]
    actor: Actor


CANCEL_CHECK: Final = "control.cancel-check"


class CancelCheck(ClaimedPerson, ControlData):
    check_id: int
    actor: Actor
    reason: Because
