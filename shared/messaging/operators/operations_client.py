"""Operators' requests to the dead-letter worker; ``shared/messaging/control_client.py`` states what holds for replies."""

from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from shared.messages.control import DISCARD, EDIT, REPLAY, STEER, Discard, Edit, Replay, Request, Steer
from shared.messages.operator_requests import (
    ALERTS,
    ANNOTATE,
    CANCEL_CHECK,
    CHECK,
    FORBID_ACTS,
    Annotate,
    CancelCheck,
    Check,
    ForbidActs,
    ReportAlerts,
)
from shared.messaging import control_client
from shared.views.operations import Done, OperationAnswer, Refused

Act = Replay | Discard | Edit | Steer | Annotate | ForbidActs | Check | CancelCheck | ReportAlerts

SHAPES: Final[dict[type[Act], tuple[str, type[Request[Any]]]]] = {
    Replay: (REPLAY, Request[Replay]),
    Discard: (DISCARD, Request[Discard]),
    Edit: (EDIT, Request[Edit]),
    Steer: (STEER, Request[Steer]),
    Annotate: (ANNOTATE, Request[Annotate]),
    ForbidActs: (FORBID_ACTS, Request[ForbidActs]),
    Check: (CHECK, Request[Check]),
    CancelCheck: (CANCEL_CHECK, Request[CancelCheck]),
    ReportAlerts: (ALERTS, Request[ReportAlerts]),
}


def request(act: Act, *, source: str, request_id: str | None = None) -> Request[Any]:
    """The request's envelope. Raises ValidationError for an invalid id or source."""
    kind, shape = SHAPES[type(act)]
    own = str(uuid4()) if request_id is None else request_id
    return shape(id=own, source=source, type=kind, time=datetime.now(UTC), data=act)


async def send_request(url: str, asked: Request[Any], *, seconds: float) -> Done | Refused:
    """The worker's reply, within ``seconds``. Raises NoReplyError or BrokerError."""
    key = asked.type.removeprefix("control.")
    return await control_client.send_request(url, asked, key, _reply, seconds=seconds, recipient="dead-letter worker")


def _reply(body: bytes) -> Done | Refused:
    return OperationAnswer.model_validate_json(body).data
