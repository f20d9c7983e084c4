"""PostgreSQL, Redis and RabbitMQ as containers of a Docker engine, removed at the end.

Testcontainers starts them beside its own small container, which removes them if this process is killed. Given a
``root``, data are kept in named volumes that stand for that folder, with the passwords and the ports in the folder itself.
"""

import asyncio
import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from deploy.servers import databases, postgres, rabbitmq, redis
from deploy.servers.credentials import credentials
from deploy.servers.errors import ServersError
from deploy.servers.kept_ports import KeptPorts, say_moved

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

POSTGRES_IMAGE: Final = "postgres:16"
REDIS_IMAGE: Final = "redis:7"
RABBITMQ_IMAGE: Final = "rabbitmq:4-management"
DATA_FOLDERS: Final = ("/var/lib/postgresql/data", "/data", "/var/lib/rabbitmq")
PORTS: Final = (5432, 6379, 5672)
READY_WITHIN: Final = 120.0


@dataclass(frozen=True)
class Started:
    """Where the containers listen, and with which passwords."""

    host: str
    postgres_port: int
    redis_port: int
    rabbitmq_port: int
    passwords: dict[str, str] = field(repr=False)
    read_databases: dict[str, str] = field(default_factory=dict)
    """Read model → its database; known once PostgreSQL is ready."""

    @property
    def rabbitmq_url(self) -> str:
        """The AMQP URL of the default virtual host, by name: RabbitMQ reads an empty path as one that has none (its URI specification)."""
        address = f"{self.host}:{self.rabbitmq_port}/%2F?heartbeat={rabbitmq.HEARTBEAT}"
        return f"amqp://{rabbitmq.USER}:{self.passwords['rabbitmq']}@{address}"

    def database_url(self, database: str, role: str) -> str:
        """The URL of one database for one role."""
        return f"postgresql://{role}:{self.passwords[role]}@{self.host}:{self.postgres_port}/{database}"

    def redis_url(self, user: str) -> str:
        """The URL of database 0 for one user."""
        return f"redis://{user}:{self.passwords[f'redis-{user}']}@{self.host}:{self.redis_port}/0"


def available() -> bool:
    """Whether a Docker engine answers, and testcontainers is installed to talk to it."""
    program = shutil.which("docker")
    if program is None and not os.environ.get("DOCKER_HOST") and not Path("/var/run/docker.sock").exists():
        return False
    if find_spec("testcontainers") is None:
        return False
    if program is None:
        return True
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        asked = [program, "version", "--format", "{{.Server.Version}}"]
        return subprocess.run(asked, capture_output=True, timeout=10, check=False).returncode == 0
    return False


@contextmanager
def running(root: Path | None) -> Iterator[Started]:
    """Started, ready and filled with their databases and roles; raises ``ServersError`` if that cannot be done."""
    if find_spec("testcontainers") is None:
        raise ServersError("Docker needs the package testcontainers: run `uv sync`, or set TIDEMARK_SERVERS=private")
    with ExitStack() as stack:
        folder = root if root is not None else Path(stack.enter_context(TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        names = (postgres.ADMIN, databases.OWNER, databases.READER, "redis-tidemark", "redis-reader", "rabbitmq")
        passwords = credentials(folder, *names)
        kept = None if root is None else KeptPorts(folder, *(str(port) for port in PORTS))
        volumes = None if root is None else "tidemark-" + hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:12]
        try:
            made = [_postgres(passwords), _redis(passwords), _rabbitmq(passwords)]
            started = _start(made, passwords, volumes, kept, stack)
        except Exception as error:
            # docker-py and testcontainers raise a dozen kinds; to the person at the terminal they are one.
            raise ServersError(f"Docker could not start the servers: {error}") from error
        for name, before, now in kept.moved if kept else ():
            say_moved(f"container port {name}", before, now)
        _until("RabbitMQ", lambda: _answers(started.host, started.rabbitmq_port, rabbitmq.HELLO, b"\x01"))
        _until("Redis", lambda: _answers(started.host, started.redis_port, b"PING\r\n", b"-"))
        _until("PostgreSQL", lambda: _complete(started))
        yield started


def _start(
    made: list[tuple["DockerContainer", int]],
    passwords: dict[str, str],
    volumes: str | None,
    kept: KeptPorts | None,
    stack: ExitStack,
) -> Started:
    from testcontainers.core.config import testcontainers_config
    from testcontainers.core.container import Reaper

    for (container, port), path in zip(made, DATA_FOLDERS, strict=True):
        if kept:
            container.with_bind_ports(port, kept[str(port)])
        else:
            container.with_exposed_ports(port)
        if volumes:
            container.with_volume_mapping(f"{volumes}-{port}", path, "rw")
        stack.callback(container.stop)
    if not testcontainers_config.ryuk_disabled:
        # The one that removes the others has to be there first: side by side, each of them would start one.
        Reaper.get_instance()
    with ThreadPoolExecutor(len(made)) as threads:
        for start in [threads.submit(container.start) for container, _ in made]:
            start.result()
    host = str(made[0][0].get_container_host_ip())
    postgres_port, redis_port, rabbitmq_port = (int(container.get_exposed_port(port)) for container, port in made)
    return Started("127.0.0.1" if host == "localhost" else host, postgres_port, redis_port, rabbitmq_port, passwords)


def _postgres(passwords: dict[str, str]) -> tuple["DockerContainer", int]:
    settings = {
        key: value
        for key, value in postgres.SETTINGS.items()
        if key not in ("listen_addresses", "unix_socket_directories", "dynamic_shared_memory_type")
    }
    command = ["postgres", *(argument for key, value in settings.items() for argument in ("-c", f"{key}={value}"))]
    container = _container(POSTGRES_IMAGE, command)
    container.with_env("POSTGRES_USER", postgres.ADMIN).with_env("POSTGRES_PASSWORD", passwords[postgres.ADMIN])
    container.with_env("POSTGRES_INITDB_ARGS", "--encoding=UTF8 --locale=C.UTF-8")
    return container, 5432


def _redis(passwords: dict[str, str]) -> tuple["DockerContainer", int]:
    command = ["redis-server", "--appendonly", "yes", "--appendfsync", "always", "--save", ""]
    command += ["--maxmemory-policy", "noeviction", "--user", "default", "off"]
    for user, rules in redis.RULES.items():
        command += ["--user", user, "on", f">{passwords[f'redis-{user}']}", *rules.split()]
    return _container(REDIS_IMAGE, command), 6379


def _rabbitmq(passwords: dict[str, str]) -> tuple["DockerContainer", int]:
    # The node's name, and so its data, hang on the host name.
    container = _container(RABBITMQ_IMAGE, None, hostname="tidemark")
    container.with_env("RABBITMQ_DEFAULT_USER", rabbitmq.USER)
    container.with_env("RABBITMQ_DEFAULT_PASS", passwords["rabbitmq"])
    return container, 5672


def _container(image: str, command: list[str] | None, **options: str) -> "DockerContainer":
    from testcontainers.core.container import DockerContainer

    container = DockerContainer(image)
    if command is not None:
        container.with_command(command)
    return container.with_kwargs(**options)


def _until(name: str, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while not ready():
        if time.monotonic() > deadline:
            raise ServersError(f"the {name} container was not ready after {READY_WITHIN:.0f} s: see `docker logs`")
        time.sleep(0.1)


def _answers(host: str, port: int, question: bytes, beginning: bytes) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=2) as connection:
        connection.sendall(question)
        return connection.recv(1) == beginning
    return False


def _complete(started: Started) -> bool:
    """Whether the databases are there; makes them at the first connection that succeeds."""
    passwords = started.passwords
    try:
        started.read_databases.update(
            asyncio.run(
                databases.create(
                    started.host, started.postgres_port, postgres.ADMIN, passwords[postgres.ADMIN], passwords
                )
            )
        )
    except databases.NOT_YET:
        return False
    return True
