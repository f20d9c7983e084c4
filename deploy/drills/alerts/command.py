"""The command ``tidemark drill alerts``: passed when every alert fired and ended in time."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from deploy.cli.terminal import Output
from deploy.demo.display import Display
from deploy.drills.alerts.drill import alerts as run_drill
from deploy.drills.alerts.faults import BY_NAME
from deploy.drills.alerts.report import AlertReport, show
from deploy.drills.alerts.system import DrillFailedError
from deploy.drills.carrying_out import carry_out
from deploy.servers.provide import CHOICE, Servers


def alerts(faults: Sequence[str], output: Output) -> int:
    """``faults``: names of BY_NAME; none: all."""
    chosen = [BY_NAME[name] for name in faults] or list(BY_NAME.values())
    os.environ.setdefault(CHOICE, "private")

    async def drill(servers: Servers, display: Display) -> AlertReport:
        with tempfile.TemporaryDirectory() as folder:
            return await run_drill(servers, chosen, Path(folder), display)

    return carry_out(drill, show, as_json=output is Output.JSON, failures=(DrillFailedError,), beside="Prometheus")
