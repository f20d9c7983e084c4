"""Sends control requests about generations to the projection's queue; any of its processes replies. A missing reply becomes one line."""

from typing import Any

from pydantic import ValidationError

from deploy.cli import operator_options
from deploy.cli.screen import printable
from deploy.cli.terminal import NEGATIVE, WRONG_USE, fail
from shared.messaging.operators import generations_client
from shared.messaging.operators.generations_client import Act
from shared.runtime.settings import Settings
from shared.views.generations import GenerationRefused, GenerationsChanged


async def send_request(
    settings: Settings, act: Act, *, request_id: str | None, seconds: float
) -> GenerationsChanged | GenerationRefused:
    """The reply. Raises typer.Exit when the request is invalid (2) or no reply arrives (3); BrokerError."""
    envelope = _envelope(act, request_id)
    with operator_options.reporting_request_errors(envelope):
        return await generations_client.send_request(settings.require("rabbitmq_url"), envelope, seconds=seconds)


async def send_request_or_exit(
    settings: Settings, act: Act, *, request_id: str | None, seconds: float
) -> GenerationsChanged:
    """Like ``send_request``, but a refusal raises typer.Exit (1) after one line."""
    answer = await send_request(settings, act, request_id=request_id, seconds=seconds)
    if isinstance(answer, GenerationRefused):
        raise fail(printable(f"{answer.code}: {answer.message}", 1000), NEGATIVE)
    return answer


def _envelope(act: Act, request_id: str | None) -> Any:
    try:
        return generations_client.request(act, source=operator_options.SOURCE, request_id=request_id)
    except (ValidationError, UnicodeError) as error:
        raise fail("--request-id: must be 1 to 200 characters", WRONG_USE) from error
