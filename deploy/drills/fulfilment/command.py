"""The command ``tidemark drill fulfilment``: exit code 0 when every check passed, 1 when one did not or the run failed, 130 on Ctrl-C."""

import asyncio
import json

from rich.console import Console
from rich.markup import escape

from deploy.cli.operator_options import EXIT_INTERRUPTED
from deploy.cli.terminal import Output, run
from deploy.demo.command import FAILURES
from deploy.demo.display import open_display
from deploy.drills.fulfilment.drill import Conditions
from deploy.drills.fulfilment.drill import fulfilment as run_drill
from deploy.drills.fulfilment.report import show
from deploy.errors import ServerUnavailableError
from deploy.servers.provide import provide


def fulfilment(conditions: Conditions, output: Output) -> int:
    try:
        with open_display() as display:
            display.print_line("starting PostgreSQL, Redis and RabbitMQ")
            with provide() as servers:
                report = run(run_drill(servers, conditions, display))
    except (*FAILURES, ServerUnavailableError) as error:
        Console(stderr=True).print(f"[bold red]drill failed:[/] {escape(str(error))}", highlight=False)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return EXIT_INTERRUPTED
    if output is Output.JSON:
        print(json.dumps(report.as_json(), indent=2))
    else:
        show(report, Console())
    return 0 if report.passed else 1
