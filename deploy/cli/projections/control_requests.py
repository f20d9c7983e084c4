"""Sends control requests about generations to the projection's queue; any of its processes replies. A missing reply becomes one line."""

from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from pydantic import ValidationError

from deploy.cli import operator_options
from deploy.cli.screen import printable
from deploy.cli.terminal import NEGATIVE, WRONG_USE, fail
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
from shared.runtime.settings import Settings
from shared.views.generations import GenerationAnswer, GenerationRefused, GenerationsChanged

Act = Rebuild | Activate | Rollback | AdoptEpoch | Drop

SHAPES: Final[dict[type[Act], tuple[str, type[Request[Any]]]]] = {
    Rebuild: (REBUILD, Request[Rebuild]),
    Activate: (ACTIVATE, Request[Activate]),
    Rollback: (ROLLBACK, Request[Rollback]),
    AdoptEpoch: (ADOPT_EPOCH, Request[AdoptEpoch]),
    Drop: (DROP, Request[Drop]),
}


async def send_request(
    settings: Settings, act: Act, *, request_id: str | None, seconds: float
) -> GenerationsChanged | GenerationRefused:
    """The reply. Raises typer.Exit when the request is invalid (2) or no reply arrives (3); BrokerError."""
    envelope = _envelope(act, request_id)
    key = topology.rebuild_key(act.projection, envelope.type.removeprefix("control."))
    with operator_options.reporting_request_errors(envelope):
        return await control_client.send_request(
            settings.require("rabbitmq_url"),
            envelope,
            key,
            _read,
            seconds=seconds,
            recipient=f"{act.projection} projector",
        )


async def send_request_or_exit(
    settings: Settings, act: Act, *, request_id: str | None, seconds: float
) -> GenerationsChanged:
    """Like ``send_request``, but a refusal raises typer.Exit (1) after one line."""
    answer = await send_request(settings, act, request_id=request_id, seconds=seconds)
    if isinstance(answer, GenerationRefused):
        raise fail(printable(f"{answer.code}: {answer.message}", 1000), NEGATIVE)
    return answer


def _read(body: bytes) -> GenerationsChanged | GenerationRefused:
    return GenerationAnswer.model_validate_json(body).data


def _envelope(act: Act, request_id: str | None) -> Any:
    kind, shape = SHAPES[type(act)]
    own = str(uuid4()) if request_id is None else request_id
    try:
        return shape(id=own, source=operator_options.SOURCE, type=kind, time=datetime.now(UTC), data=act)
    except (ValidationError, UnicodeError) as error:
        raise fail("--request-id: must be 1 to 200 characters", WRONG_USE) from error
