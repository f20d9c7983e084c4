"""The command ``tidemark drill alerts``: exit code 0 when every alert fired and ended in time, 1 when one did not or the run failed."""

import asyncio
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from deploy.cli.operator_options import EXIT_INTERRUPTED
from deploy.cli.terminal import Output, run
from deploy.demo.command import FAILURES
from deploy.demo.display import open_display
from deploy.drills.alerts.drill import alerts as run_drill
from deploy.drills.alerts.faults import BY_NAME
from deploy.drills.alerts.report import show
from deploy.drills.alerts.system import DrillFailedError
from deploy.servers.provide import CHOICE, provide


def alerts(faults: Sequence[str], output: Output) -> int:
    """``faults``: names of BY_NAME; none: all."""
    chosen = [BY_NAME[name] for name in faults] or list(BY_NAME.values())
    os.environ.setdefault(CHOICE, "private")
    try:
        with open_display() as display, tempfile.TemporaryDirectory() as folder:
            display.print_line("starting PostgreSQL, Redis, RabbitMQ and Prometheus")
            with provide() as servers:
                report = run(run_drill(servers, chosen, Path(folder), display))
    except (*FAILURES, DrillFailedError) as error:
        Console(stderr=True).print(f"[bold red]drill failed:[/] {escape(str(error))}", highlight=False)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return EXIT_INTERRUPTED
    if output is Output.JSON:
        print(json.dumps(report.as_json(), indent=2))
    else:
        show(report, Console())
    return 0 if report.passed else 1
