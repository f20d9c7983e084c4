"""Runs every deployable on the given servers until it is stopped."""

import os
from pathlib import Path

from rich.console import Console

from deploy.run import environment, http_ports, metrics_ports
from deploy.run.deployables import DEPLOYABLES, programs
from deploy.run.migrate import migrate
from deploy.run.supervisor import Supervisor, run_until_stopped
from deploy.servers.provide import Servers
from shared.runtime.settings import Settings


async def run_all(servers: Servers, data: Path) -> int:
    """Migrate, start every deployable, and run; returns 0 when stopped, 1 when a deployable died. ``data``: the folder for port records."""
    chosen, messages = http_ports.choose(data)
    os.environ.update(servers.environ() | chosen | metrics_ports.choose(data, DEPLOYABLES))
    os.environ.setdefault("TIDEMARK_RUNTIME_DIR", str((environment.HOME / "health").absolute()))
    settings = Settings()
    await migrate(settings)
    console = Console()
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104
    query_url, command_url = f"http://{host}:{settings.query_port}", f"http://{host}:{settings.command_port}"
    variables = {
        "TIDEMARK_QUERY_URL": query_url,
        "TIDEMARK_COMMAND_URL": command_url,
        "TIDEMARK_LANES": str(settings.lanes),
        "TIDEMARK_RUNTIME_DIR": settings.runtime_dir,
        metrics_ports.TARGETS: os.environ[metrics_ports.TARGETS],
    }
    with environment.published(servers.environ() | variables):
        for line in messages:
            console.print(line, highlight=False)
        console.print(f"servers: {servers.origin}; `tidemark env` prints their URLs", highlight=False)
        console.print(f"queries: {query_url}/schema", highlight=False)
        console.print(f"commands: {command_url}/schema", highlight=False)
        return await run_until_stopped(Supervisor(), programs(servers))
