"""Operators' requests about the generations of a projection, which any of its processes answers.

``shared/messaging/control_client.py`` states what holds for replies.
"""

from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from shared.messages.control import (
    ACTIVATE,
    ADOPT_EPOCH,
    DROP,
    REBUILD,
    ROLLBACK,
    Activate,
    AdoptEpoch,
    Drop,
    Rebuild,
    Request,
    Rollback,
)
from shared.messaging import control_client, topology
from shared.views.generations import GenerationAnswer, GenerationRefused, GenerationsChanged

Act = Rebuild | Activate | Rollback | AdoptEpoch | Drop

SHAPES: Final[dict[type[Act], tuple[str, type[Request[Any]]]]] = {
    Rebuild: (REBUILD, Request[Rebuild]),
    Activate: (ACTIVATE, Request[Activate]),
    Rollback: (ROLLBACK, Request[Rollback]),
    AdoptEpoch: (ADOPT_EPOCH, Request[AdoptEpoch]),
    Drop: (DROP, Request[Drop]),
}
UNDER_WAY_CODE: Final = "rebuild-under-way"
"""Another generation of the projection is being built: there is one at a time."""


def request(act: Act, *, source: str, request_id: str | None = None) -> Request[Any]:
    """The request's envelope. Raises ValidationError, UnicodeError for an invalid id or source."""
    kind, shape = SHAPES[type(act)]
    own = str(uuid4()) if request_id is None else request_id
    return shape(id=own, source=source, type=kind, time=datetime.now(UTC), data=act)


async def send_request(url: str, asked: Request[Any], *, seconds: float) -> GenerationsChanged | GenerationRefused:
    """The projector's reply, within ``seconds``. Raises NoReplyError or BrokerError."""
    projection = asked.data.projection
    key = topology.rebuild_key(projection, asked.type.removeprefix("control."))
    recipient = f"{projection} projector"
    return await control_client.send_request(url, asked, key, _reply, seconds=seconds, recipient=recipient)


def _reply(body: bytes) -> GenerationsChanged | GenerationRefused:
    return GenerationAnswer.model_validate_json(body).data
