"""PostgreSQL, Redis and RabbitMQ as containers of a Docker engine, removed at the end.

Testcontainers also starts its own small container, which removes them if this process is killed. With a ``root``, data are
kept in volumes named after that folder, and the passwords and ports in the folder itself.
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

from deploy.broker.management import Management, ManagementError
from deploy.broker.users import USERS, put_users
from deploy.servers import postgres, rabbitmq
from deploy.servers.accounts import databases, redis_users
from deploy.servers.accounts.credentials import credentials
from deploy.servers.accounts.urls import ROLES
from deploy.servers.errors import ServersError
from deploy.servers.persistent_ports import PersistentPorts, report_changed_port

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

POSTGRES_IMAGE: Final = "postgres:16"
REDIS_IMAGE: Final = "redis:7"
RABBITMQ_IMAGE: Final = "rabbitmq:4-management"
DATA_FOLDERS: Final = ("/var/lib/postgresql/data", "/data", "/var/lib/rabbitmq")
PORTS: Final = (5432, 6379, 5672)
MANAGEMENT_PORT: Final = 15672
READY_TIMEOUT_S: Final = 120.0


@dataclass(frozen=True)
class RunningContainers:
    """The addresses and passwords of the containers."""

    host: str
    postgres_port: int
    redis_port: int
    rabbitmq_port: int
    management_port: int
    passwords: dict[str, str] = field(repr=False)
    read_databases: dict[str, str] = field(default_factory=dict)
    """Read model → its database; filled when PostgreSQL is ready."""

    def rabbitmq_url(self, user: str) -> str:
        """The user's AMQP URL of the default virtual host. Percent-encoded: by RabbitMQ's rules an empty path is the vhost ``""``."""
        address = f"{self.host}:{self.rabbitmq_port}/%2F?heartbeat={rabbitmq.HEARTBEAT}"
        return f"amqp://{user}:{self.passwords['rabbitmq' if user == rabbitmq.USER else user]}@{address}"

    @property
    def management_url(self) -> str:
        """The administrator's URL of RabbitMQ's management API."""
        return f"http://{rabbitmq.USER}:{self.passwords['rabbitmq']}@{self.host}:{self.management_port}"

    def database_url(self, database: str, role: str) -> str:
        """The URL of one database for one role."""
        return f"postgresql://{role}:{self.passwords[role]}@{self.host}:{self.postgres_port}/{database}"

    def redis_url(self, user: str) -> str:
        """The URL of database 0 for one user."""
        return f"redis://{user}:{self.passwords[f'redis-{user}']}@{self.host}:{self.redis_port}/0"


def available() -> bool:
    """Whether a Docker engine responds, and testcontainers is installed."""
    program = shutil.which("docker")
    if program is None and not os.environ.get("DOCKER_HOST") and not Path("/var/run/docker.sock").exists():
        return False
    if find_spec("testcontainers") is None:
        return False
    if program is None:
        return True
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        command = [program, "version", "--format", "{{.Server.Version}}"]
        return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0
    return False


@contextmanager
def running(root: Path | None) -> Iterator[RunningContainers]:
    """Containers that are ready and have their databases and roles. Raises ``ServersError`` if they cannot be started."""
    if find_spec("testcontainers") is None:
        raise ServersError("Docker needs the package testcontainers: run `uv sync`, or set TIDEMARK_SERVERS=private")
    with ExitStack() as stack:
        folder = root if root is not None else Path(stack.enter_context(TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        names = (postgres.ADMIN, *ROLES, *(f"redis-{user}" for user in redis_users.RULES), "rabbitmq", *USERS)
        passwords = credentials(folder, *names)
        fixed_ports = None if root is None else PersistentPorts(folder, *(str(port) for port in PORTS))
        volumes = None if root is None else "tidemark-" + hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:12]
        try:
            containers = [_postgres(passwords), _redis(passwords), _rabbitmq(passwords)]
            started = _start(containers, passwords, volumes, fixed_ports, stack)
        except Exception as error:
            # docker-py and testcontainers raise many types; the operator needs only one message.
            raise ServersError(f"Docker could not start the servers: {error}") from error
        for name, before, now in fixed_ports.changed if fixed_ports else ():
            report_changed_port(f"container port {name}", before, now)
        _wait_until("RabbitMQ", lambda: _responds(started.host, started.rabbitmq_port, rabbitmq.HELLO, b"\x01"))
        _wait_until("RabbitMQ's management API", lambda: _users_there(started))
        _wait_until("Redis", lambda: _responds(started.host, started.redis_port, b"PING\r\n", b"-"))
        _wait_until("PostgreSQL", lambda: _databases_ready(started))
        yield started


def _start(
    containers: list[tuple["DockerContainer", int]],
    passwords: dict[str, str],
    volumes: str | None,
    fixed_ports: PersistentPorts | None,
    stack: ExitStack,
) -> RunningContainers:
    from testcontainers.core.config import testcontainers_config
    from testcontainers.core.container import Reaper

    for (container, port), path in zip(containers, DATA_FOLDERS, strict=True):
        if fixed_ports:
            container.with_bind_ports(port, fixed_ports[str(port)])
        else:
            container.with_exposed_ports(port)
        if volumes:
            container.with_volume_mapping(f"{volumes}-{port}", path, "rw")
        stack.callback(container.stop)
    if not testcontainers_config.ryuk_disabled:
        # The reaper must be started first: containers that start concurrently would each start one.
        Reaper.get_instance()
    with ThreadPoolExecutor(len(containers)) as threads:
        for start in [threads.submit(container.start) for container, _ in containers]:
            start.result()
    host = str(containers[0][0].get_container_host_ip())
    postgres_port, redis_port, rabbitmq_port = (int(container.get_exposed_port(port)) for container, port in containers)
    return RunningContainers(
        "127.0.0.1" if host == "localhost" else host,
        postgres_port,
        redis_port,
        rabbitmq_port,
        int(containers[-1][0].get_exposed_port(MANAGEMENT_PORT)),
        passwords,
    )


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
    # The users by way of the environment: arguments are seen by everybody on the machine.
    start = """
    umask 077; printf "%s" "$TIDEMARK_USERS" > /tmp/users.acl; chown redis /tmp/users.acl; unset TIDEMARK_USERS
    exec docker-entrypoint.sh redis-server "$@"
    """
    settings = ["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction"]
    container = _container(REDIS_IMAGE, ["sh", "-c", start, "sh", *settings, "--aclfile", "/tmp/users.acl"])  # noqa: S108
    users = redis_users.acl({user: passwords[f"redis-{user}"] for user in redis_users.RULES})
    return container.with_env("TIDEMARK_USERS", users), 6379


def _rabbitmq(passwords: dict[str, str]) -> tuple["DockerContainer", int]:
    # The node's name, and so the path of its data, depends on the host name.
    container = _container(RABBITMQ_IMAGE, None, hostname="tidemark")
    container.with_env("RABBITMQ_DEFAULT_USER", rabbitmq.USER)
    container.with_env("RABBITMQ_DEFAULT_PASS", passwords["rabbitmq"])
    container.with_exposed_ports(MANAGEMENT_PORT)
    return container, 5672


def _container(image: str, command: list[str] | None, **options: str) -> "DockerContainer":
    from testcontainers.core.container import DockerContainer

    container = DockerContainer(image)
    if command is not None:
        container.with_command(command)
    return container.with_kwargs(**options)


def _wait_until(name: str, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not ready():
        if time.monotonic() > deadline:
            raise ServersError(f"the {name} container was not ready after {READY_TIMEOUT_S:.0f} s: see `docker logs`")
        time.sleep(0.1)


def _responds(host: str, port: int, question: bytes, beginning: bytes) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=2) as connection:
        connection.sendall(question)
        return connection.recv(1) == beginning
    return False


def _users_there(started: RunningContainers) -> bool:
    """Whether the deployables' users exist; creates them as soon as the management API responds."""
    passwords = {user: started.passwords[user] for user in USERS}
    try:
        asyncio.run(put_users(Management(started.management_url), passwords))
    except ManagementError:
        return False
    return True


def _databases_ready(started: RunningContainers) -> bool:
    """Whether the databases exist; creates them at the first connection that succeeds."""
    passwords = started.passwords
    try:
        started.read_databases.update(
            asyncio.run(
                databases.create(
                    started.host, started.postgres_port, postgres.ADMIN, passwords[postgres.ADMIN], passwords
                )
            )
        )
    except databases.NOT_READY_ERRORS:
        return False
    return True
