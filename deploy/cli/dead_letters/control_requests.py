"""Sends an operator's actions from a terminal to the dead-letter worker; a refusal or a missing reply becomes one line."""

import shutil
from typing import TYPE_CHECKING, Any

import typer
from pydantic import ValidationError

from deploy.cli import operator_options
from deploy.cli.screen import printable
from deploy.cli.terminal import NEGATIVE, WRONG_USE, fail
from shared.runtime.settings import Settings
from shared.views.operations import Done, Refused

if TYPE_CHECKING:
    from shared.messaging.operators.operations_client import Act


async def send_request(settings: Settings, act: "Act", *, request_id: str | None, seconds: float) -> Done:
    """The result. Raises typer.Exit when it is refused (1), the request is invalid (2), or no reply arrives (3); BrokerError."""
    from shared.messaging.operators import operations_client

    envelope = _envelope(act, request_id)
    with operator_options.reporting_request_errors(envelope):
        result = await operations_client.send_request(settings.require("rabbitmq_url"), envelope, seconds=seconds)
    if isinstance(result, Refused):
        raise _refusal(result)
    return result


def _envelope(act: "Act", request_id: str | None) -> Any:
    from shared.messaging.operators.operations_client import request

    try:
        return request(act, source=operator_options.SOURCE, request_id=request_id)
    except (ValidationError, UnicodeError) as error:
        raise fail("--request-id: must be 1 to 200 characters", WRONG_USE) from error


def _refusal(refused: Refused) -> typer.Exit:
    details = "; ".join(f"{one.get('field', '?')}: {one.get('message', '')}" for one in refused.errors)
    message = f"{refused.code}: {refused.message}" + (f" ({details})" if details and details != refused.message else "")
    return fail(printable(message, max(shutil.get_terminal_size().columns * 5, 1000)), NEGATIVE)
