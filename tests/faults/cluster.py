"""The whole system on private servers that tests may kill: emptied for each test, and started afresh after one that failed."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Final, TextIO
from urllib.parse import urlsplit

import aio_pika
import asyncpg
from redis.asyncio import Redis

from deploy.demo.system import settings_for
from deploy.run.child import Program
from deploy.run.deployables import DEPLOYABLES, program
from deploy.run.migrate import migrate
from deploy.run.supervisor import Supervisor
from deploy.servers.ports import free_port
from deploy.servers.private import PrivateServers, Server
from deploy.servers.provide import Servers
from shared.messaging import topology

# The epoch stays: to the projections that go on running another one would be a restored write database, and they would stop.
# Some have a row that migrations made, and that nothing else makes.
TABLES: Final = """
SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
  AND tablename NOT IN ('migrations', 'epochs', 'audit_head', 'api_keys_revision', 'operators_acts', 'sealing')
"""


@dataclass
class Cluster:
    """``programs`` are the deployables that run. Servers are killed through ``private``."""

    servers: Servers
    private: PrivateServers
    supervisor: Supervisor
    programs: Mapping[str, Program]
    query_url: str
    command_url: str
    health: Path
    random: Random
    _unusual: set[str] = field(default_factory=set)
    """Deployables that run with other settings than they usually have."""

    @property
    def names(self) -> Sequence[str]:
        return tuple(self.programs)

    def server(self, name: str) -> Server:
        return self.private.named(name)

    async def pause(self, least: float, most: float) -> None:
        await asyncio.sleep(self.random.uniform(least, most))

    async def kill_and_restart(self, name: str) -> None:
        """SIGKILL a deployable or a server; start it again a moment later."""
        if name in self.programs:
            await self.supervisor.kill(name)
            await self.pause(0, 1)
            await self.supervisor.restart(name)
        else:
            server = self.server(name)
            await asyncio.to_thread(server.kill)
            await self.pause(0, 1)
            await asyncio.to_thread(server.start)
            await asyncio.to_thread(server.wait_ready)

    async def start_with(self, name: str, **settings: str) -> None:
        """Restart a deployable with these settings in addition to the usual ones."""
        program = self.programs[name]
        await self.replace_program(replace(program, env={**program.env, **settings}))

    async def replace_program(self, program: Program) -> None:
        """Start this program in place of the deployable with its name."""
        if self.supervisor.running(program.name):
            await self.supervisor.kill(program.name)
        usual = program == self.programs[program.name]
        (self._unusual.discard if usual else self._unusual.add)(program.name)
        await self.supervisor.start([program])

    async def reset(self) -> None:
        """Start every deployable with its usual settings, and empty every store and queue."""
        for name in self.names:
            if name in self._unusual or not self.supervisor.running(name):
                await self.start_with(name)
        await empty(self.servers)

    @asynccontextmanager
    async def frozen(self, name: str) -> AsyncIterator[None]:
        server = self.server(name)
        await asyncio.to_thread(server.freeze)
        try:
            yield
        finally:
            await asyncio.to_thread(server.thaw)

    async def troubles(self, name: str) -> dict[str, str]:
        """The troubles that a deployable reports in its health file; empty: it is healthy."""
        found: dict[str, str] = json.loads(await asyncio.to_thread((self.health / f"{name}.json").read_text))[
            "troubles"
        ]
        return found

    def died(self) -> list[str]:
        """The deployables that are not running, though they should be."""
        return [name for name in self.names if not self.supervisor.running(name)]


@asynccontextmanager
async def running_cluster(
    servers: Servers, output: TextIO, random: Random, *, seen: Mapping[str, str] | None = None
) -> AsyncIterator[Cluster]:
    """Everything empty, everything running. ``seen``: URLs, by environment variable, that the deployables get instead."""
    assert servers.private is not None
    await asyncio.to_thread(heal, servers.private)
    await empty(servers)
    with TemporaryDirectory(prefix="tidemark-health-", ignore_cleanup_errors=True) as health:
        queries, commands = free_port(), free_port()
        base = os.environ | {
            "TIDEMARK_QUERY_PORT": str(queries),
            "TIDEMARK_COMMAND_PORT": str(commands),
            "TIDEMARK_LOG_LEVEL": "INFO",
            "TIDEMARK_RUNTIME_DIR": health,
        }
        programs = {name: _seeing(program(name, servers, base), seen or {}) for name in DEPLOYABLES}
        async with Supervisor(output) as supervisor:
            await supervisor.start(programs.values())
            yield Cluster(
                servers,
                servers.private,
                supervisor,
                programs,
                query_url=f"http://127.0.0.1:{queries}",
                command_url=f"http://127.0.0.1:{commands}",
                health=Path(health),
                random=random,
            )


def heal(private: PrivateServers) -> None:
    """Thaw and start what a failed test has left frozen or dead."""
    servers: Sequence[Server] = (private.postgres, private.redis, private.rabbitmq)
    for server in servers:
        server.thaw()
        if not server.running:
            server.start()
        server.wait_ready()


async def prepare(servers: Servers) -> None:
    """Migrate, and wait until the queues survive a kill.

    RabbitMQ 3.10 writes the name of a new quorum queue some tenths of a second after it has confirmed the
    declaration; killed in between, it elects no leader for the queue afterwards.
    """
    assert servers.private is not None
    await migrate(settings_for(servers))
    names = [queue.name.encode() for queue in topology.declarations(lanes=4).queues]
    data = servers.private.rabbitmq.data
    async with asyncio.timeout(20):
        while not all(name in b"".join(_registries(data)) for name in names):  # noqa: ASYNC110 - a file
            await asyncio.sleep(0.1)


def _registries(data: Path) -> list[bytes]:
    return [path.read_bytes() for path in data.glob("*/quorum/*/names.dets")]


async def empty(servers: Servers) -> None:
    assert servers.private is not None
    urls = (servers.write_db_url, servers.stores["summary"], servers.stores["search"], servers.operations_db_url)
    for url in dict.fromkeys(urls):
        # As the administrator: some tables are guarded by triggers that let nothing go.
        admin = servers.private.postgres.admin_url(urlsplit(url).path.removeprefix("/"))
        connection = await asyncpg.connect(admin, server_settings={"session_replication_role": "replica"})
        if tables := [row[0] for row in await connection.fetch(TABLES)]:
            await connection.execute(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY")
        await connection.close()
    async with Redis.from_url(servers.stores["analytics"]) as redis:
        await redis.flushall()
    async with await aio_pika.connect(servers.rabbitmq_url) as broker:
        channel = await broker.channel()
        for queue in topology.declarations(lanes=4).queues:
            await (await channel.get_queue(queue.name, ensure=False)).purge()


def _seeing(one: Program, urls: Mapping[str, str]) -> Program:
    """With the addresses of these URLs, and its own accounts."""
    seen = {name: _at(one.env[name], url) for name, url in urls.items() if name in one.env}
    return replace(one, env={**one.env} | seen)


def _at(own: str, address: str) -> str:
    login, (_, _, host) = urlsplit(own).netloc.rpartition("@")[0], urlsplit(address).netloc.rpartition("@")
    return urlsplit(own)._replace(netloc=f"{login}@{host}").geturl()
