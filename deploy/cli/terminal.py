"""Shared by all commands: output as a table or as JSON, errors as one line, exit codes.

0 success, 1 negative result (refused, different, not found), 2 wrong use, 3 a server is unavailable or too slow. Drivers are imported only
to classify their errors.
"""

import asyncio
import logging
from collections.abc import Coroutine
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from deploy.errors import ServerUnavailableError
from deploy.run import environment

if TYPE_CHECKING:
    from shared.runtime.settings import Settings

T = TypeVar("T")

NEGATIVE: Final = 1
WRONG_USE: Final = 2
UNAVAILABLE: Final = 3


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("--output", help="For people, or for programs.")]


def fail(message: str, code: int) -> typer.Exit:
    """Print one line on stderr; returns the exit to raise."""
    from rich.console import Console

    line = f"tidemark: {' '.join(message.split())}"
    Console(stderr=True).print(line, style="red", markup=False, highlight=False, soft_wrap=True)
    return typer.Exit(code)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work. Raises typer.Exit, after one line on stderr, for errors of servers and settings."""
    from shared.runtime.settings import MissingSettingError, SettingError

    for driver in ("aio_pika", "aiormq"):
        # They also log the errors that they raise.
        logging.getLogger(driver).setLevel(logging.CRITICAL)
    try:
        return asyncio.run(work)
    except MissingSettingError as error:
        raise fail(f"{error}; set it, or run this where `tidemark up` runs", WRONG_USE) from error
    except SettingError as error:
        raise fail(str(error), WRONG_USE) from error
    except ServerUnavailableError as error:
        raise fail(str(error), UNAVAILABLE) from error
    except typer.Exit:
        raise
    except Exception as error:
        server = _failed_server(error)
        if server is None:
            raise
        raise fail(f"{server}: {str(error) or 'no answer in time'}", UNAVAILABLE) from error


def _failed_server(error: Exception) -> str | None:
    """The server that the error comes from; None if it comes from no server."""
    from shared.runtime.postgres import is_outage

    if isinstance(error, TimeoutError):
        return "RabbitMQ"
    if is_outage(error):
        return "PostgreSQL"
    from shared.messaging.broker import BrokerError

    return "RabbitMQ" if isinstance(error, BrokerError) else None


def settings() -> "Settings":
    from pydantic import ValidationError

    from shared.runtime.setting_values import SettingError

    try:
        found = environment.settings()
    except SettingError as error:
        raise fail(str(error), WRONG_USE) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise fail(f"TIDEMARK_{'_'.join(map(str, first['loc'])).upper()}: {first['msg']}", WRONG_USE) from error
    if found.rabbitmq_url and not found.rabbitmq_url.startswith(("amqp://", "amqps://")):
        raise fail("TIDEMARK_RABBITMQ_URL: a URL like amqp://user:password@host:5672/ is needed", WRONG_USE)
    return found
