"""Options of operator actions: actor, reason, request id; and the errors of sending a request, each as one line."""

import getpass
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Final, TypeVar

import typer
from pydantic import BaseModel, ValidationError

from deploy.cli.screen import printable
from deploy.cli.terminal import UNAVAILABLE, WRONG_USE, fail
from shared.contracts.validation_errors import describe
from shared.contracts.values import Actor
from shared.messages.control import Reason as ReasonText
from shared.messages.control import Request

SOURCE: Final = "tidemark/cli"
EXIT_INTERRUPTED: Final = 130
AUDIT_PANEL: Final = "For the audit"

Reason = Annotated[str, typer.Option(help="The reason; kept permanently.", rich_help_panel=AUDIT_PANEL)]
ActorOption = Annotated[
    str | None,
    typer.Option("--actor", help="The operator; by default the user of this terminal.", rich_help_panel=AUDIT_PANEL),
]
RequestId = Annotated[
    str | None,
    typer.Option(
        "--request-id",
        help="Id of the request; requests with the same id are executed once.",
        rich_help_panel=AUDIT_PANEL,
    ),
]

Model = TypeVar("Model", bound=BaseModel)


class Reasoned(BaseModel):
    """Who changes something, and why, as the audit keeps it."""

    actor: Actor
    reason: ReasonText = ""


def actor_name(given: str | None) -> Actor:
    if given is not None:
        return given
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError) as error:
        raise fail("the user of this terminal is unknown: use --actor", WRONG_USE) from error


def is_interactive() -> bool:
    """Whether an operator can be prompted: stdin and stderr are terminals."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def validated(model: type[Model], values: Mapping[str, Any], named: Mapping[str, str] | None = None) -> Model:
    """The validated request. Raises typer.Exit with a message that names the invalid option.

    ``named``: field → option, where the option is not named after the field.
    """

    def option(field: str) -> str:
        return (named or {}).get(field, "--" + field.replace("_", "-"))

    for name, value in values.items():
        if isinstance(value, str) and any("\ud800" <= one <= "\udfff" for one in value):
            raise fail(f"{option(name)}: must be UTF-8", WRONG_USE)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = describe(error, model)[0]
        field = re.split(r"[.\[]", first["field"])[0]
        raise fail(f"{option(field)}: {first['message']}", WRONG_USE) from error


@contextmanager
def reporting_request_errors(envelope: Request[Any]) -> Iterator[None]:
    """Around sending a control request: no reply, or no queue for it on the broker, ends the command with one line and exit code 3."""
    from shared.messaging.broker import UnroutableError
    from shared.messaging.control_client import NoReplyError

    try:
        yield
    except NoReplyError as error:
        raise fail(
            f"{error}; the broker keeps the request: repeat it with --request-id {printable(envelope.id)} for its result",
            UNAVAILABLE,
        ) from error
    except UnroutableError as error:
        raise fail("RabbitMQ has no queue for operators' requests yet: run tidemark migrate", UNAVAILABLE) from error


def reasoned(reason: str, actor: str | None) -> Reasoned:
    """The options --reason and --actor. Raises typer.Exit with a message that names the invalid one."""
    return validated(Reasoned, {"reason": reason, "actor": actor_name(actor)})
