"""The command ``tidemark demo``: exit code 0 when every line is equal, 1 when any differs or the run failed, 130 on
Ctrl-C.
"""

import asyncio
import json
from typing import Final, Literal

from rich.console import Console
from rich.markup import escape

from deploy.demo.catching_up import NotCaughtUpError
from deploy.demo.demo import run
from deploy.demo.display import open_display
from deploy.demo.report import show
from deploy.demo.source import SourceError, retail_folder
from deploy.run.supervisor import ChildExitedError
from deploy.sending.sender import UnansweredCommandsError
from deploy.servers.provide import ServersError, provide

DEFAULT_ORDERS: Final = 5000
FAILURES: Final = (
    ServersError,
    SourceError,
    ChildExitedError,
    UnansweredCommandsError,
    NotCaughtUpError,
)
"""The errors that end a run with a one-line message instead of a traceback."""


def demo(orders: int | None = None, all_orders: bool = False, output: Literal["table", "json"] = "table") -> int:
    """Run the demo with the first ``orders`` baskets of the year (5,000 by default), or with all; returns the exit code."""
    try:
        retail_folder()
        with open_display() as display:
            display.print_line("starting PostgreSQL, Redis and RabbitMQ")
            with provide() as servers:
                report = asyncio.run(run(servers, None if all_orders else orders or DEFAULT_ORDERS, display))
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
