"""Acts of an operator from a terminal: asked of the dead-letter worker, its refusals and its silence in one line."""

import shutil
from typing import TYPE_CHECKING, Any

import typer
from pydantic import ValidationError

from deploy.cli import operator_options
from deploy.cli.screen import shown
from deploy.cli.terminal import NO, WRONG_USE, fail
from shared.runtime.settings import Settings
from shared.views.operations import Done, Refused

if TYPE_CHECKING:
    from shared.messaging.operations_client import Act


async def asked(settings: Settings, act: "Act", *, request_id: str | None, seconds: float) -> Done:
    """What it came to. Raises typer.Exit where the answer is no (1), the request is wrong (2), or nobody answers (3); BrokerError."""
    from shared.messaging.operations_client import send_request

    envelope = _envelope(act, request_id)
    with operator_options.asked(envelope):
        result = await send_request(settings.require("rabbitmq_url"), envelope, seconds=seconds)
    if isinstance(result, Refused):
        raise _refused(result)
    return result


def _envelope(act: "Act", request_id: str | None) -> Any:
    from shared.messaging.operations_client import request

    try:
        return request(act, source=operator_options.SOURCE, request_id=request_id)
    except (ValidationError, UnicodeError) as error:
        raise fail("--request-id: must be 1 to 200 characters", WRONG_USE) from error


def _refused(refused: Refused) -> typer.Exit:
    details = "; ".join(f"{one.get('field', '?')}: {one.get('message', '')}" for one in refused.errors)
    said = f"{refused.code}: {refused.message}" + (f" ({details})" if details and details != refused.message else "")
    return fail(shown(said, max(shutil.get_terminal_size().columns * 5, 1000)), NO)
