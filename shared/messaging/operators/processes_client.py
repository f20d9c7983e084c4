"""Operators' requests about one process, to the process managers; ``shared/messaging/control_client.py`` states what holds for replies."""

from datetime import UTC, datetime
from uuid import uuid4

from shared.messages.control import Request
from shared.messages.process_acts import PROCESS_ACT, ActOnProcess, ProcessActed, ProcessAnswer, ProcessRefused
from shared.messaging import control_client, topology


def request(act: ActOnProcess, *, source: str, request_id: str | None = None) -> Request[ActOnProcess]:
    """The request's envelope. Raises ValidationError for an invalid id or source."""
    own = str(uuid4()) if request_id is None else request_id
    return Request[ActOnProcess](id=own, source=source, type=PROCESS_ACT, time=datetime.now(UTC), data=act)


async def send_request(url: str, asked: Request[ActOnProcess], *, seconds: float) -> ProcessActed | ProcessRefused:
    """The process managers' reply, within ``seconds``. Raises NoReplyError or BrokerError."""
    key = topology.PROCESS_ACT_KEY
    return await control_client.send_request(url, asked, key, _reply, seconds=seconds, recipient="process manager")


def _reply(body: bytes) -> ProcessActed | ProcessRefused:
    return ProcessAnswer.model_validate_json(body).data
