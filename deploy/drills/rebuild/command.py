"""The command ``tidemark drill rebuild``: exit code 0 when all is as it must be, 1 when it is not or the run failed, 130 on Ctrl-C."""

import asyncio
import json
from typing import Literal

from rich.console import Console
from rich.markup import escape

from deploy.cli.operator_options import INTERRUPTED
from deploy.cli.terminal import run
from deploy.demo.command import FAILURES
from deploy.demo.display import displaying
from deploy.demo.source import retail_folder
from deploy.drills.rebuild.client import ServiceError
from deploy.drills.rebuild.drill import RebuildDrillError
from deploy.drills.rebuild.drill import rebuild as run_drill
from deploy.drills.rebuild.report import show
from deploy.servers.provide import provide
from deploy.verify.models import ServerUnavailableError
from shared.messaging.control_client import NoReplyError


def rebuild(orders: int | None, per_second: float, output: Literal["table", "json"]) -> int:
    try:
        retail_folder()
        with displaying() as display:
            display.say("bringing up PostgreSQL, Redis and RabbitMQ")
            with provide() as servers:
                report = run(run_drill(servers, orders, per_second, display))
    except (*FAILURES, RebuildDrillError, NoReplyError, ServerUnavailableError, ServiceError) as error:
        Console(stderr=True).print(f"[bold red]drill failed:[/] {escape(str(error))}", highlight=False)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return INTERRUPTED
    if output == "json":
        print(json.dumps(report.as_json(), indent=2))
    else:
        show(report, Console())
    return 0 if report.good else 1
