"""Parsing of requests that projections send to the command service on ``control``."""

import logging
from typing import Any, Final, Protocol, TypeVar

from pydantic import ValidationError

from shared.messages.control import Request
from shared.messaging import topology
from shared.messaging.consuming import Delivery

log: Final = logging.getLogger(__name__)


class _Projections(Protocol):
    @property
    def projection(self) -> str: ...


ControlRequest = TypeVar("ControlRequest", bound=Request[Any])


def read(delivery: Delivery, shape: type[ControlRequest]) -> ControlRequest | None:
    """The request; None if it is invalid, which is an internal error, as ``control`` is private: it is logged and dropped."""
    try:
        request = shape.model_validate_json(delivery.body)
    except ValidationError as error:
        log.error("an unreadable request on control was dropped: %s", error)  # noqa: TRY400 - the message is the whole story
        return None
    data: _Projections = request.data
    if data.projection not in topology.SUBSCRIBERS:
        log.error("a request for the unknown projection %r was dropped", data.projection)
        return None
    return request
