"""Everything that a system has stored, as bytes: dumps, Redis's append-only file, messages, logs. It does not run meanwhile.

Backups and restores of its databases, too.
"""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import aio_pika
from redis.asyncio import Redis

from deploy.demo.system import settings_for
from deploy.erasure.stores import databases as urls_of
from deploy.servers import programs
from shared.messaging import topology
from tests.canary import Canaries
from tests.e2e.system import System


class Places:
    """All places where something may be left, as bytes. The system is not running meanwhile."""

    def __init__(self, system: System, folder: Path) -> None:
        self._system = system
        self._folder = folder
        assert system.servers.private is not None
        self.private = system.servers.private

    async def left(self, canaries: Canaries) -> list[str]:
        found = []
        for place, content in [*await self.dumps(), *await self.append_only(), *await self.messages(), *self.files()]:
            found += [f"{place}: {each}" for each in canaries.found_in(content)]
        return found

    async def dumps(self) -> list[tuple[str, bytes]]:
        found = []
        for name, url in urls_of(settings_for(self._system.servers)).items():
            found.append((f"database {name}", await program("pg_dump", self.admin_url(url))))
        return found

    async def append_only(self) -> list[tuple[str, bytes]]:
        async with Redis.from_url(self._system.servers.stores["analytics"]) as redis:
            # Otherwise texts are compressed in the file.
            await redis.config_set("rdbcompression", "no")
            await redis.bgrewriteaof()
            async with asyncio.timeout(30):
                while await is_rewriting(redis):  # noqa: ASYNC110 - another process decides
                    await asyncio.sleep(0.1)
        files = [path for path in self.private.redis.data.rglob("*") if path.is_file()]
        assert files
        return [(f"Redis {path.name}", path.read_bytes()) for path in files]

    async def messages(self) -> list[tuple[str, bytes]]:
        """Every message of every queue; all go back."""
        found = []
        connection = await aio_pika.connect(self._system.servers.rabbitmq_url, timeout=10)
        async with connection:
            for queue in topology.declarations(lanes=4).queues:
                async with asyncio.timeout(60):
                    found += [(f"queue {queue.name}", each) for each in await peek(connection, queue.name)]
        return found

    def files(self) -> list[tuple[str, bytes]]:
        """Logs of the deployables and of the servers, and health files."""
        logs = [path for path in self.private.root.rglob("*.log") if path.is_file()]
        logs += [path for path in self.private.postgres.data.rglob("*.log") if path.is_file()]
        own = [path for path in self._folder.iterdir() if path.is_file()]
        assert logs
        return [(str(path), path.read_bytes()) for path in {*logs, *own}]

    def admin_url(self, url: str) -> str:
        return self.private.postgres.admin_url(urlsplit(url).path.removeprefix("/"))

    async def back_up(self, database: str, to: Path) -> None:
        await program("pg_dump", "--format=custom", f"--file={to}", self.private.postgres.admin_url(database))

    async def restore(self, backup: Path) -> None:
        """While nothing runs."""
        await program(
            "pg_restore", "--clean", "--if-exists", "--create", "--exit-on-error",
            f"--dbname={self.private.postgres.admin_url()}", str(backup),
        )  # fmt: skip


async def is_rewriting(redis: Redis) -> bool:
    state = await redis.info("persistence")
    return bool(state["aof_rewrite_in_progress"] or state["aof_rewrite_scheduled"])


async def peek(connection: aio_pika.abc.AbstractConnection, name: str) -> list[bytes]:
    """The bodies and headers of all messages of a queue without other consumers."""
    channel = await connection.channel()
    queue = await channel.get_queue(name, ensure=False)
    count = (await channel.declare_queue(name, passive=True)).declaration_result.message_count or 0
    found: list[bytes] = []
    got = asyncio.Event()

    async def take(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        found.append(message.body + repr(message.info()).encode())
        if len(found) >= count:
            got.set()

    if count:
        await queue.consume(take)
        await got.wait()
    await channel.close()
    return found


async def program(name: str, *arguments: str) -> bytes:
    process = await asyncio.create_subprocess_exec(
        str(programs.postgres_folder() / name),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, wrong = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, wrong.decode()
    return said
