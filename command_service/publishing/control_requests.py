"""Requests on ``control`` that projections send to the command service, as they come out of a queue."""

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


Asked = TypeVar("Asked", bound=Request[Any])


def read(delivery: Delivery, shape: type[Asked]) -> Asked | None:
    """None for what is no request: it came over a private exchange, so it is a fault of ours, said aloud and dropped."""
    try:
        request = shape.model_validate_json(delivery.body)
    except ValidationError as error:
        log.error("an unreadable request on control was dropped: %s", error)  # noqa: TRY400 - the message is the whole story
        return None
    asking: _Projections = request.data
    if asking.projection not in topology.PROJECTORS:
        log.error("a request for the unknown projection %r was dropped", asking.projection)
        return None
    return request
