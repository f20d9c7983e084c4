"""PostgreSQL, Redis and RabbitMQ as private instances below one folder, started concurrently.

They have data folders, ports and passwords of their own, which a folder that is kept preserves; the machine's instances on
the default ports are never touched. A folder has one owner process at a time, enforced by a lock. The servers end when the
owner stops them or ends; a temporary folder is then removed, any other keeps its data for the next start.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from deploy.servers import leftovers
from deploy.servers.errors import PortTakenError, ServersError
from deploy.servers.persistent_ports import report_changed_port
from deploy.servers.postgres import Postgres, is_traversable
from deploy.servers.rabbitmq import RabbitMQ
from deploy.servers.redis import Redis

PORT_ATTEMPTS: Final = 5
LOCK_TIMEOUT_S: Final = 10.0

Server = Postgres | Redis | RabbitMQ


class PrivateServers:
    """The three servers of one folder; each can be killed, frozen and started again on its own."""

    def __init__(self, root: Path) -> None:
        """Find the programs. Raises ``ProgramMissingError`` if one is not installed."""
        self.root = root
        self.postgres = Postgres(_subfolder(root, "postgres"))
        self.redis = Redis(_subfolder(root, "redis"))
        self.rabbitmq = RabbitMQ(_subfolder(root, "rabbitmq"))

    def named(self, name: str) -> Server:
        """postgres, redis or rabbitmq. Raises KeyError."""
        found: dict[str, Server] = {"postgres": self.postgres, "redis": self.redis, "rabbitmq": self.rabbitmq}
        return found[name]

    @property
    def all(self) -> tuple[Server, ...]:
        """The slowest to start first."""
        return self.rabbitmq, self.postgres, self.redis

    def start(self) -> None:
        """Start all three concurrently and return when all are ready; if one fails, all are stopped and its error is raised."""
        with ThreadPoolExecutor(len(self.all)) as threads:
            started = [threads.submit(_start_server, server) for server in self.all]
            try:
                wait(started)
            except KeyboardInterrupt:
                # A server that is starting cannot be stopped before its process exists.
                wait(started)
                raise
        failures = [error for one in started if (error := one.exception())]
        if failures:
            self.stop()
            raise failures[0]
        for server in self.all:
            for name, before, now in server.ports.changed:
                if name == "port":  # operators do not use Erlang's own ports
                    report_changed_port(type(server).__name__, before, now)

    def stop(self, *, discard_data: bool = False) -> None:
        """Stop all three concurrently; ``discard_data`` omits what only a next start on the same data needs."""
        with ThreadPoolExecutor(len(self.all)) as threads:
            for stopped in [threads.submit(server.stop, discard_data=discard_data) for server in self.all]:
                stopped.result()


@contextmanager
def private_servers(root: Path | None = None, *, keep: bool = False) -> Iterator[PrivateServers]:
    """Private servers that run until the end of the block.

    Without ``root`` they use a temporary folder, which is removed at the end unless ``keep``; with it, their data
    stay there for the next start. Raises ``ServersError`` if another process is using ``root``.
    """
    leftovers.clear_all(_temporary_base())
    temporary = root is None and not keep
    folder = Path(tempfile.mkdtemp(prefix=leftovers.PREFIX, dir=_temporary_base())) if root is None else root.absolute()
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    if root is None:
        # PostgreSQL's user must be able to traverse the folder; it cannot list it.
        folder.chmod(0o711)
    with _owned(folder, temporary=temporary):
        servers: PrivateServers | None = None
        try:
            servers = PrivateServers(folder)
            servers.start()
            yield servers
        finally:
            if servers:
                servers.stop(discard_data=temporary)
            if temporary:
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _owned(folder: Path, *, temporary: bool) -> Iterator[None]:
    with (folder / leftovers.LOCK).open("a") as lock:
        _lock(lock, folder)
        leftovers.clear(folder)
        folder.mkdir(exist_ok=True)
        owner = leftovers.identity(os.getpid())
        leftovers.write(folder / leftovers.OWNER, **owner, temporary=temporary)
        watcher = leftovers.watch(folder, owner)
        try:
            yield
        finally:
            (folder / leftovers.OWNER).unlink(missing_ok=True)
            watcher.kill()
            watcher.wait()


def _lock(lock: IO[str], folder: Path) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        owner = leftovers.read(folder / leftovers.OWNER)
        # The watcher of a dead owner holds the lock while it clears the folder.
        if leftovers.alive(owner) or time.monotonic() > deadline:
            raise ServersError(f"the servers in {folder} are in use by process {owner.get('pid')}: stop it first")
        time.sleep(0.05)


def _start_server(server: Server) -> None:
    for _ in range(PORT_ATTEMPTS):
        server.start()
        with contextlib.suppress(PortTakenError):
            server.wait_ready()
            return
        server.choose_new_ports()
    raise ServersError(f"no port could be had for {type(server).__name__} in {PORT_ATTEMPTS} attempts")


def _subfolder(root: Path, name: str) -> Path:
    folder = root / name
    folder.mkdir(mode=0o711 if name == "postgres" else 0o700, exist_ok=True)
    return folder


def _temporary_base() -> Path:
    base = Path(tempfile.gettempdir())
    return base if is_traversable(base) else Path("/var/tmp")  # noqa: S108 (mkdtemp below it; only its use is at issue)
