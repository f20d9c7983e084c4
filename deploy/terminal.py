"""What all commands share: their output for people or programs, their errors in one line, their exit codes.

0 done, 1 the answer is no, 2 wrong use, 3 a server is away or too slow.
"""

import asyncio
import logging
from collections.abc import Coroutine
from enum import StrEnum
from typing import Annotated, Any, Final, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console

from deploy import environment
from shared.broker import BrokerError
from shared.postgres import is_outage
from shared.settings import MissingSettingError, Settings

T = TypeVar("T")

NO: Final = 1
WRONG_USE: Final = 2
AWAY: Final = 3


class AwayError(Exception):
    """A server is away or too slow; the message says which, and why, in one line."""


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("--output", help="For people, or for programs.")]


def fail(message: str, code: int) -> typer.Exit:
    """One line on stderr, and an exit code."""
    line = f"tidemark: {' '.join(message.split())}"
    Console(stderr=True).print(line, style="red", markup=False, highlight=False, soft_wrap=True)
    return typer.Exit(code)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work; what goes wrong with servers and settings is one line and an exit code."""
    for driver in ("aio_pika", "aiormq"):
        # They log what they raise as well.
        logging.getLogger(driver).setLevel(logging.CRITICAL)
    try:
        return asyncio.run(work)
    except MissingSettingError as error:
        raise fail(f"{error}; set it, or run this where `tidemark up` runs", WRONG_USE) from error
    except AwayError as error:
        raise fail(str(error), AWAY) from error
    except (BrokerError, TimeoutError) as error:
        raise fail(f"RabbitMQ: {str(error) or 'no answer in time'}", AWAY) from error
    except Exception as error:
        if not is_outage(error):
            raise
        raise fail(f"PostgreSQL: {error}", AWAY) from error


def settings() -> Settings:
    try:
        found = environment.settings()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise fail(f"TIDEMARK_{'_'.join(map(str, first['loc'])).upper()}: {first['msg']}", WRONG_USE) from error
    if found.rabbitmq_url and not found.rabbitmq_url.startswith(("amqp://", "amqps://")):
        raise fail("TIDEMARK_RABBITMQ_URL: a URL like amqp://user:password@host:5672/ is needed", WRONG_USE)
    return found
