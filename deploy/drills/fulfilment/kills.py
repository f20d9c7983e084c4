"""Kills each process and each server of the drill in turn, with SIGKILL, and starts it again."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from deploy.run.supervisor import Supervisor
from deploy.servers.private import PrivateServers, Server


@dataclass
class Kills:
    """``wanted`` kills, one every ``every_s`` seconds. Servers are killed only if they are private."""

    supervisor: Supervisor
    names: Sequence[str]
    private: PrivateServers | None
    wanted: int
    every_s: float
    done: Counter[str] = field(default_factory=Counter)

    async def run(self) -> None:
        servers: dict[str, Server] = {}
        if self.private is not None:
            servers = {
                "rabbitmq": self.private.rabbitmq,
                "postgres": self.private.postgres,
                "redis": self.private.redis,
            }
        turn = [*self.names, *servers]
        for number in range(self.wanted):
            await asyncio.sleep(self.every_s)
            name = turn[number % len(turn)]
            if name in servers:
                await asyncio.to_thread(_kill_and_start, servers[name])
            else:
                await self.supervisor.kill(name)
                await self.supervisor.restart(name)
            self.done[name] += 1


def _kill_and_start(server: Server) -> None:
    server.kill()
    server.start()
    server.wait_ready()
