"""Acts of an operator from a terminal: asked of the dead-letter worker, its refusals and its silence in one line."""

import shutil
from typing import Any

import typer
from pydantic import ValidationError

from deploy.dead_letters.tables import shown
from deploy.terminal import AWAY, NO, WRONG_USE, fail
from shared.broker import UnroutableError
from shared.operating import Act, NoAnswerError, ask, request
from shared.settings import Settings
from shared.views.operations import Done, Refused

SOURCE = "tidemark/cli"


async def asked(settings: Settings, act: Act, *, request_id: str | None, seconds: float) -> Done:
    """What it came to. Raises typer.Exit where the answer is no (1), the request is wrong (2), or nobody answers (3); BrokerError."""
    envelope = _envelope(act, request_id)
    try:
        result = await ask(settings.require("rabbitmq_url"), envelope, seconds=seconds)
    except NoAnswerError as error:
        raise fail(
            f"{error}; the broker keeps the request: ask again with --request-id {shown(envelope.id)} for what came of it",
            AWAY,
        ) from error
    except UnroutableError as error:
        raise fail("RabbitMQ has no queue for operators' requests yet: run tidemark migrate", AWAY) from error
    if isinstance(result, Refused):
        raise _refused(result)
    return result


def _envelope(act: Act, request_id: str | None) -> Any:
    try:
        return request(act, source=SOURCE, request_id=request_id)
    except (ValidationError, UnicodeError) as error:
        raise fail("--request-id: must be 1 to 200 characters", WRONG_USE) from error


def _refused(refused: Refused) -> typer.Exit:
    details = "; ".join(f"{one.get('field', '?')}: {one.get('message', '')}" for one in refused.errors)
    said = f"{refused.code}: {refused.message}" + (f" ({details})" if details and details != refused.message else "")
    return fail(shown(said, max(shutil.get_terminal_size().columns * 5, 1000)), NO)
