"""A private RabbitMQ node: durable messages survive ``kill`` and a new ``start`` on the same data and port.

Nothing is shared with the machine's own node: it has its own name, cookie, data, log, plugins (management only), settings, ports, and
epmd (Erlang's port mapper), which runs as a child process, so that no daemon is left. All listeners are on
127.0.0.1. A graceful stop takes some six seconds and durable queues do not need it, so ``stop`` kills.

Each deployable has a user of its own, with the permissions of this version from every start on (``deploy/broker/users.py``).
"""

import asyncio
import contextlib
import secrets
import signal
import socket
import time
from pathlib import Path
from typing import Final

from deploy.broker.management import Management
from deploy.broker.users import USERS, put_users
from deploy.servers import leftovers, programs
from deploy.servers.accounts.credentials import credentials
from deploy.servers.persistent_ports import PersistentPorts
from deploy.servers.process import ServerProcess

USER: Final = "tidemark"
COOKIE: Final = "cookie"
HELLO: Final = b"AMQP\x00\x00\x09\x01"
HEARTBEAT: Final = 10
SETTINGS: Final = """\
default_user = {user}
default_pass = {password}
listeners.tcp.1 = 127.0.0.1:{port}
# The write-ahead log of quorum queues is also kept in memory; the default of 512 MiB is meant for a dedicated server.
raft.wal_max_size_bytes = 67108864
disk_free_limit.absolute = 50MB
management.tcp.ip = 127.0.0.1
management.tcp.port = {management}
# Only users and permissions are managed; figures would cost every connection and channel.
management_agent.disable_metrics_collector = true
log.console = false
"""


class RabbitMQ:
    """One private node in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.ports = PersistentPorts(folder, "port", "management", "distribution", "epmd")
        self._program = programs.rabbitmq_server()
        self._epmd_program = programs.epmd()
        epmd_folder = folder.with_name(folder.name + "-epmd")
        epmd_folder.mkdir(mode=0o700, exist_ok=True)
        self._process = ServerProcess("RabbitMQ", folder, quick_signal=signal.SIGKILL)
        self._epmd = ServerProcess("RabbitMQ's epmd", epmd_folder, quick_signal=signal.SIGKILL)
        self._passwords = credentials(folder, USER, COOKIE, *USERS)
        self._name = str(leftovers.read(folder / "node.json").get("name") or f"tidemark-{secrets.token_hex(4)}")
        leftovers.write(folder / "node.json", name=self._name)

    @property
    def port(self) -> int:
        return self.ports["port"]

    @property
    def running(self) -> bool:
        """Whether its process exists (it may be frozen or not yet ready)."""
        return self._process.running

    def start(self) -> None:
        """Start the node on its existing data, if any; ``wait_ready`` returns when it can be used."""
        for folder in (self.data, self.folder / "log", self.folder / "home"):
            folder.mkdir(mode=0o700, exist_ok=True)
        settings = self.folder / "rabbitmq.conf"
        settings.touch(mode=0o600)
        settings.write_text(
            SETTINGS.format(
                user=USER, password=self._passwords[USER], port=self.port, management=self.ports["management"]
            )
        )
        cookie = self.folder / "home" / ".erlang.cookie"
        cookie.unlink(missing_ok=True)
        cookie.touch(mode=0o600)
        cookie.write_text(self._passwords[COOKIE])
        cookie.chmod(0o400)
        (self.folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
        (self.folder / "rabbitmq-env.conf").touch()
        env = self.environment()
        if not self._epmd.running:
            mapper = [str(self._epmd_program), "-port", str(self.ports["epmd"]), "-address", "127.0.0.1"]
            self._epmd.start(mapper, env, self.folder)
            self._epmd.wait_until(lambda: _listens(self.ports["epmd"]), 10, self.ports["epmd"])
        self._process.start([str(self._program)], env, self.folder)

    def wait_ready(self, timeout: float = 90.0) -> None:
        """Return when it accepts AMQP, which is when its boot is complete, and its users are there.

        Raises ``ServersError`` after ``timeout`` s.
        """
        self._process.wait_until(self._is_ready, timeout, self.port, self.ports["management"])
        passwords = {user: self._passwords[user] for user in USERS}
        asyncio.run(put_users(Management(self.management_url()), passwords))

    def stop(self, *, discard_data: bool = False) -> None:
        """Kill the node and its epmd; ``discard_data`` makes no difference."""
        self._process.kill()
        self._epmd.kill()

    def kill(self) -> None:
        """SIGKILL the node with its port programs."""
        self.stop()

    def freeze(self) -> None:
        """Suspend it: connections stay open, nothing is answered, not even heartbeats."""
        self._process.freeze()

    def thaw(self) -> None:
        """Resume it after ``freeze``."""
        self._process.thaw()

    def choose_new_ports(self) -> None:
        """Stop it, and choose new ports for the next start."""
        self.stop()
        self.ports.choose_new_ports()

    def url(self, user: str = USER) -> str:
        """The user's AMQP URL of the default virtual host. Percent-encoded: by RabbitMQ's rules an empty path is the vhost ``""``."""
        return f"amqp://{user}:{self._passwords[user]}@127.0.0.1:{self.port}/%2F?heartbeat={HEARTBEAT}"

    def management_url(self) -> str:
        """The administrator's URL of the management API."""
        return f"http://{USER}:{self._passwords[USER]}@127.0.0.1:{self.ports['management']}"

    def environment(self) -> dict[str, str]:
        """The environment of the node, and of commands that connect to it."""
        return programs.environment() | {
            "HOME": str(self.folder / "home"),
            "ERL_EPMD_PORT": str(self.ports["epmd"]),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_FLAGS": "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_NODENAME": f"{self._name}@localhost",
            "RABBITMQ_DIST_PORT": str(self.ports["distribution"]),
            "RABBITMQ_MNESIA_BASE": str(self.data),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_CONFIG_FILES": str(self.folder / "conf.d"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self.folder / "generated"),
            # The start script then replaces itself with the node (exec), instead of waiting for it.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def _is_ready(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
            connection.sendall(HELLO)
            return connection.recv(1) == b"\x01"
        return False


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    time.sleep(0.01)
    return False
