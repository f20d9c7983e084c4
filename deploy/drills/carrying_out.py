"""How a drill is carried out as a command: exit code 0 when it passed, 1 when it did not or the run failed, 130 on Ctrl-C."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from rich.console import Console
from rich.markup import escape

from deploy.cli.operator_options import EXIT_INTERRUPTED
from deploy.cli.terminal import run
from deploy.demo.command import FAILURES
from deploy.demo.display import Display, open_display
from deploy.servers.provide import Servers, provide


class Report(Protocol):
    @property
    def passed(self) -> bool: ...

    def as_json(self) -> dict[str, Any]: ...


R = TypeVar("R", bound=Report)


def carry_out(
    drill: Callable[[Servers, Display], Coroutine[Any, Any, R]],
    show: Callable[[R, Console], None],
    *,
    as_json: bool,
    failures: tuple[type[Exception], ...],
    beside: str = "",
    first: Callable[[], object] = lambda: None,
) -> int:
    """``first``: what may fail before anything is started. ``beside``: what is started besides the three servers.

    ``failures``: of this drill, besides those of any, that end it with one line.
    """
    ending: tuple[type[Exception], ...] = (*FAILURES, *failures)
    try:
        first()
        with open_display() as display:
            servers_named = ["PostgreSQL", "Redis", "RabbitMQ", *filter(None, [beside])]
            display.print_line(f"starting {', '.join(servers_named[:-1])} and {servers_named[-1]}")
            with provide() as servers:
                report = run(drill(servers, display))
    except ending as error:
        Console(stderr=True).print(f"[bold red]drill failed:[/] {escape(str(error))}", highlight=False)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return EXIT_INTERRUPTED
    if as_json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        show(report, Console())
    return 0 if report.passed else 1
