"""Running everything on given servers, until told to stop."""

import os

from rich.console import Console

from deploy import environment
from deploy.deployables import programs
from deploy.local.servers import Servers
from deploy.migrate import migrate
from deploy.supervisor import Supervisor, run_until_stopped
from shared.settings import Settings


async def stay_up(servers: Servers) -> int:
    """Migrate, start every deployable, stay; 0 when asked to stop, 1 when a deployable died."""
    variables = servers.environ()
    os.environ.update(variables)
    settings = Settings()
    await migrate(settings)
    console = Console()
    with environment.remembered(variables) as file:
        console.print(f"servers: {servers.origin}; their URLs are in {file}", highlight=False)
        console.print(f"queries: http://{settings.host}:{settings.query_port}/schema", highlight=False)
        console.print(f"commands: http://{settings.host}:{settings.command_port}/schema", highlight=False)
        return await run_until_stopped(Supervisor(), programs(servers))
