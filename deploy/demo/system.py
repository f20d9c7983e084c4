"""A whole system for a demo: started, used by the demo's flow, and stopped.

    servers ──▶ migrate ──▶ deployables ──▶ flow: send, wait, compare ──▶ stop everything

Everything that was started is stopped in every case; servers given by the environment keep running, with their data.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from deploy.demo.display import Display
from deploy.run.deployables import PRIVATE, program
from deploy.run.migrate import migrate
from deploy.run.supervisor import Supervisor
from deploy.servers import ports
from deploy.servers.provide import Servers
from shared.read_models import NAMES, READ_MODELS
from shared.runtime.settings import Settings

DEPLOYABLES: Final = ("worker", "relay", *NAMES, "query")
"""The deployables that a demo needs, without the HTTP ingress, because commands are sent over RabbitMQ."""

Report = TypeVar("Report")
Pids = Callable[[], Mapping[str, int]]
"""Each running process's id, by deployable."""
Flow = Callable[[str, Pids], Coroutine[Any, Any, Report]]
"""What a demo does with the running system, given the query service's URL."""


async def run(servers: Servers, display: Display, flow: Flow[Report]) -> Report:
    """Start the system on these servers, run the flow, stop what was started. Raises ChildExitedError, and the errors of ``flow``."""
    display.print_line(f"servers: {servers.origin}")
    await migrate(settings_for(servers))
    port = ports.free_port()
    environment = dict(os.environ) | PRIVATE | {"TIDEMARK_QUERY_PORT": str(port), "TIDEMARK_LOG_LEVEL": "WARNING"}
    async with Supervisor(output=None) as supervisor:
        await supervisor.start(program(name, servers, environment) for name in DEPLOYABLES)
        display.print_line(f"running: {', '.join(DEPLOYABLES)}")
        pids = _pids(supervisor)
        work = flow(f"http://127.0.0.1:{port}", pids)
        running = asyncio.create_task(supervisor.supervise(work))
        with _cancelled_by_sigterm(running):
            return await running


def settings_for(servers: Servers) -> Settings:
    """Settings with write access to all of these servers; all other settings from the environment."""
    urls: dict[str, Any] = {model.setting: servers.stores[model.name] for model in READ_MODELS}
    return Settings(
        rabbitmq_url=servers.rabbitmq_url,
        write_db_url=servers.write_db_url,
        operations_db_url=servers.operations_db_url,
        processes_db_url=servers.processes_db_url,
        **urls,
    )


def _pids(supervisor: Supervisor) -> Pids:
    def pids() -> dict[str, int]:
        return {name: supervisor.pid(name) for name in DEPLOYABLES if supervisor.running(name)} | {"demo": os.getpid()}

    return pids


@contextmanager
def _cancelled_by_sigterm(task: asyncio.Task[Report]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
