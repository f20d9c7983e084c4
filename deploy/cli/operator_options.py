"""Whoever acts from a terminal: the options that say who and why, and one line for what cannot be asked or is not answered."""

import getpass
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Final, TypeVar

import typer
from pydantic import BaseModel, ValidationError

from deploy.cli.screen import shown
from deploy.cli.terminal import AWAY, WRONG_USE, fail
from shared.contracts.validation_errors import describe
from shared.contracts.values import Actor
from shared.messages.control import Request

SOURCE: Final = "tidemark/cli"
INTERRUPTED: Final = 130
AUDIT: Final = "For the audit"

Reason = Annotated[str, typer.Option(help="Why; kept for ever.", rich_help_panel=AUDIT)]
By = Annotated[
    str | None, typer.Option("--actor", help="Who; the user of this terminal if left out.", rich_help_panel=AUDIT)
]
RequestId = Annotated[
    str | None,
    typer.Option(
        "--request-id",
        help="Id of the request: with the same one it is done once, however often it is sent.",
        rich_help_panel=AUDIT,
    ),
]

Model = TypeVar("Model", bound=BaseModel)


def who(given: str | None) -> Actor:
    if given is not None:
        return given
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError) as error:
        raise fail("nobody knows who you are: say it with --actor", WRONG_USE) from error


def at_a_terminal() -> bool:
    """Whether somebody is there to be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def valid(model: type[Model], values: Mapping[str, Any], named: Mapping[str, str] | None = None) -> Model:
    """What an operator asks for, as its contract has it; what does not fit is named by its option.

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
def asked(envelope: Request[Any]) -> Iterator[None]:
    """The block asks for it over ``control``; silence, and a broker that knows no such request, are one line and exit code 3."""
    from shared.messaging.broker import UnroutableError
    from shared.messaging.control_client import NoReplyError

    try:
        yield
    except NoReplyError as error:
        raise fail(
            f"{error}; the broker keeps the request: ask again with --request-id {shown(envelope.id)} for what came of it",
            AWAY,
        ) from error
    except UnroutableError as error:
        raise fail("RabbitMQ has no queue for operators' requests yet: run tidemark migrate", AWAY) from error
