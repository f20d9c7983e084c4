"""Runs a demo as a command: exit code 0 when every line is equal, 1 when any differs or the run failed, 130 on Ctrl-C."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, Protocol, TypeVar

from rich.console import Console
from rich.markup import escape

from deploy.demo import system
from deploy.demo.catching_up import NotCaughtUpError
from deploy.demo.display import Display, open_display
from deploy.demo.system import Flow
from deploy.errors import SourceError
from deploy.run.supervisor import ChildExitedError
from deploy.sending.sender import UnansweredCommandsError
from deploy.servers.provide import Servers, ServersError, provide

FAILURES: Final = (
    ServersError,
    SourceError,
    ChildExitedError,
    UnansweredCommandsError,
    NotCaughtUpError,
)
"""The errors that end a run with a one-line message instead of a traceback."""


class DemoReport(Protocol):
    @property
    def equal(self) -> bool: ...

    def as_json(self) -> Mapping[str, Any]: ...


Report = TypeVar("Report", bound=DemoReport)


def run_demo(
    flow: Callable[[Servers, Display], Flow[Report]],
    show: Callable[[Report, Console], None],
    *,
    check_source: Callable[[], object] = lambda: None,
    output: Literal["table", "json"] = "table",
) -> int:
    """Start servers and the system, run the flow, show its report; returns the exit code.

    ``check_source`` raises SourceError, before anything is started, if there is no data.
    """
    try:
        check_source()
        with open_display() as display:
            display.print_line("starting PostgreSQL, Redis and RabbitMQ")
            with provide() as servers:
                report = asyncio.run(system.run(servers, display, flow(servers, display)))
    except FAILURES as error:
        Console(stderr=True).print(f"[bold red]demo failed:[/] {escape(str(error))}", highlight=False)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    if output == "json":
        print(json.dumps(report.as_json(), indent=2))
    else:
        show(report, Console())
    return 0 if report.equal else 1
