"""The command ``tidemark drill rebuild``: exit code 0 when every check passed, 1 when one did not or the run failed, 130 on Ctrl-C."""

import asyncio
import json
from typing import Literal

from rich.console import Console
from rich.markup import escape

from deploy.cli.operator_options import EXIT_INTERRUPTED
from deploy.cli.terminal import run
from deploy.demo.command import FAILURES
from deploy.demo.display import open_display
from deploy.demo.shop.source import retail_folder
from deploy.drills.rebuild.client import ServiceError
from deploy.drills.rebuild.drill import RebuildDrillError
from deploy.drills.rebuild.drill import rebuild as run_drill
from deploy.drills.rebuild.report import show
from deploy.errors import ServerUnavailableError
from deploy.servers.provide import provide
from shared.messaging.control_client import NoReplyError


def rebuild(orders: int | None, per_second: float, output: Literal["table", "json"]) -> int:
    try:
        retail_folder()
        with open_display() as display:
            display.print_line("starting PostgreSQL, Redis and RabbitMQ")
            with provide() as servers:
                report = run(run_drill(servers, orders, per_second, display))
    except (*FAILURES, RebuildDrillError, NoReplyError, ServerUnavailableError, ServiceError) as error:
        Console(stderr=True).print(f"[bold red]drill failed:[/] {escape(str(error))}", highlight=False)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return EXIT_INTERRUPTED
    if output == "json":
        print(json.dumps(report.as_json(), indent=2))
    else:
        show(report, Console())
    return 0 if report.passed else 1
