"""The system of the drill: every deployable, a Prometheus with every rule beside it, and some orders all the time."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import httpx

from deploy.demo.system import settings_for
from deploy.observability.private.program import program as prometheus_program
from deploy.run import metrics_ports
from deploy.run.child import Program
from deploy.run.deployables import DEPLOYABLES, PRIVATE, program
from deploy.run.migrate import migrate
from deploy.run.supervisor import Supervisor
from deploy.sending.batches import command_message
from deploy.servers.errors import ServersError
from deploy.servers.ports import free_port
from deploy.servers.private import PrivateServers, Server
from deploy.servers.provide import Servers
from shared.messages.control import Replay, Selection
from shared.messages.envelope import CONTENT_TYPE
from shared.messaging import topology
from shared.messaging.broker import BrokerError, Outgoing, Publisher
from shared.messaging.operators.operations_client import request, send_request
from shared.observability.targets import Target, unparse
from shared.views.operations import Refused

CURRENCY: Final = "EUR"
PAUSE_S: Final = 0.5
"""Between two orders."""
PLACE_ORDER: Final = "orders.place-order"
SOURCE: Final = "tidemark/drill"


class DrillFailedError(Exception):
    """A step of the drill itself did not have its result; the message says which."""


@dataclass(frozen=True)
class DrilledSystem:
    servers: Servers
    private: PrivateServers
    supervisor: Supervisor
    programs: Mapping[str, Program]
    prometheus: httpx.AsyncClient
    publisher: Publisher

    def server(self, name: str) -> Server:
        return self.private.named(name)

    async def deploy(self, name: str, **settings: str) -> None:
        """Start the deployable afresh, with these settings in addition to the usual ones."""
        await self.supervisor.kill(name)
        usual = self.programs[name]
        await self.supervisor.start([replace(usual, env={**usual.env, **settings})])

    async def place(self, order_id: str) -> None:
        """Send an order over the bus. Raises BrokerError."""
        lines = [{"product_id": "drill", "name": "Drill", "quantity": 1, "amount": 250}]
        order = {"order_id": order_id, "customer_id": "drill", "currency": CURRENCY, "lines": lines}
        command = command_message(PLACE_ORDER, order_id, order, source=SOURCE)
        await self.publisher.publish(
            Outgoing(topology.COMMANDS, PLACE_ORDER, command.body, CONTENT_TYPE, type=PLACE_ORDER)
        )

    async def place_all_the_time(self) -> None:
        """Until cancelled; what is not taken during an outage is left out."""
        number = 0
        while True:
            number += 1
            with suppress(BrokerError):
                await self.place(f"drill-{number}")
            await asyncio.sleep(PAUSE_S)

    async def replay(self, projection: str) -> None:
        """Replay all dead letters of the projection. Raises DrillFailedError."""
        act = Replay(selection=Selection(origin=projection), actor="drill", reason="the fix is deployed")
        answer = await send_request(self.servers.rabbitmq_url, request(act, source=SOURCE), seconds=30)
        if isinstance(answer, Refused):
            raise DrillFailedError(f"the replay was refused: {answer}")

    async def firing(self) -> Sequence[Mapping[str, str]]:
        """The labels of every alert that fires now."""
        answer: dict[str, Any] = (await self.prometheus.get("/api/v1/alerts")).raise_for_status().json()
        return [alert["labels"] for alert in answer["data"]["alerts"] if alert["state"] == "firing"]

    async def scraped(self) -> set[str]:
        """The deployables whose metrics Prometheus reads."""
        parameters = {"query": 'up{job="tidemark"} == 1'}
        answer: dict[str, Any] = (await self.prometheus.get("/api/v1/query", params=parameters)).json()
        return {each["metric"]["deployable"] for each in answer["data"]["result"]}


@asynccontextmanager
async def running(servers: Servers, folder: Path) -> AsyncIterator[DrilledSystem]:
    """Raises ServersError, ChildExitedError."""
    if servers.private is None:
        raise ServersError("the drill freezes servers, so it needs its own: unset TIDEMARK_SERVERS and TIDEMARK_*_URL")
    await migrate(settings_for(servers))
    targets = unparse(Target(name, metrics_ports.HOST, free_port()) for name in DEPLOYABLES)
    environment = {
        **os.environ,
        **PRIVATE,
        "TIDEMARK_LOG_LEVEL": "WARNING",
        "TIDEMARK_QUERY_PORT": str(free_port()),
        "TIDEMARK_COMMAND_PORT": str(free_port()),
        metrics_ports.TARGETS: targets,
    }
    prometheus, url = await asyncio.to_thread(prometheus_program, folder)
    prometheus = replace(prometheus, env={**prometheus.env, metrics_ports.TARGETS: targets})
    programs = {name: program(name, servers, environment) for name in DEPLOYABLES}
    async with (
        Supervisor(output=None) as supervisor,
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=10) as metrics,
    ):
        await supervisor.start([*programs.values(), prometheus])
        publisher = Publisher(servers.rabbitmq_url, "drill")
        try:
            yield DrilledSystem(servers, servers.private, supervisor, programs, metrics, publisher)
        finally:
            await publisher.close()
