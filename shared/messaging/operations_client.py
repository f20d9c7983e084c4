"""What operators ask of the dead-letter worker; see ``shared/messaging/control_client.py`` for what is promised of the answers."""

from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from shared.messages.control import DISCARD, EDIT, REPLAY, STEER, Discard, Edit, Replay, Request, Steer
from shared.messaging import control_client
from shared.views.operations import Done, OperationAnswer, Refused

Act = Replay | Discard | Edit | Steer

SHAPES: Final[dict[type[Act], tuple[str, type[Request[Any]]]]] = {
    Replay: (REPLAY, Request[Replay]),
    Discard: (DISCARD, Request[Discard]),
    Edit: (EDIT, Request[Edit]),
    Steer: (STEER, Request[Steer]),
}


def request(act: Act, *, source: str, request_id: str | None = None) -> Request[Any]:
    """The envelope. Raises ValidationError for an id or a source that no request may have."""
    kind, shape = SHAPES[type(act)]
    own = str(uuid4()) if request_id is None else request_id
    return shape(id=own, source=source, type=kind, time=datetime.now(UTC), data=act)


async def ask(url: str, asked: Request[Any], *, seconds: float) -> Done | Refused:
    """The worker's answer, within ``seconds``. Raises NoAnswerError or BrokerError."""
    key = asked.type.removeprefix("control.")
    return await control_client.ask(url, asked, key, _answer, seconds=seconds, whom="dead-letter worker")


def _answer(body: bytes) -> Done | Refused:
    return OperationAnswer.model_validate_json(body).data
