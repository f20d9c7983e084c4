"""A private RabbitMQ node: durable messages survive ``kill`` and a new ``start`` on the same data and port.

Nothing is shared with the machine's own node: own name, cookie, data, log, plugins (none), settings, ports, and an
own epmd (Erlang's port mapper) that runs as our child, so that no daemon stays behind. All listeners are on
127.0.0.1. A graceful stop takes some six seconds and gains nothing that durable queues do not have: ``stop`` kills.
"""

import contextlib
import secrets
import signal
import socket
import time
from pathlib import Path
from typing import Final

from deploy.servers import leftovers, programs
from deploy.servers.credentials import credentials
from deploy.servers.kept_ports import KeptPorts
from deploy.servers.process import ServerProcess

USER: Final = "tidemark"
COOKIE: Final = "cookie"
HELLO: Final = b"AMQP\x00\x00\x09\x01"
HEARTBEAT: Final = 10
SETTINGS: Final = """\
default_user = {user}
default_pass = {password}
listeners.tcp.1 = 127.0.0.1:{port}
# The write-ahead log of quorum queues is kept in memory as well; the default of 512 MiB suits a server of its own.
raft.wal_max_size_bytes = 67108864
disk_free_limit.absolute = 50MB
log.console = false
"""


class RabbitMQ:
    """One private node in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.ports = KeptPorts(folder, "port", "distribution", "epmd")
        self._program = programs.rabbitmq_server()
        self._epmd_program = programs.epmd()
        epmd_folder = folder.with_name(folder.name + "-epmd")
        epmd_folder.mkdir(mode=0o700, exist_ok=True)
        self._process = ServerProcess("RabbitMQ", folder, quick=signal.SIGKILL)
        self._epmd = ServerProcess("RabbitMQ's epmd", epmd_folder, quick=signal.SIGKILL)
        self._passwords = credentials(folder, USER, COOKIE)
        self._name = str(leftovers.read(folder / "node.json").get("name") or f"tidemark-{secrets.token_hex(4)}")
        leftovers.write(folder / "node.json", name=self._name)

    @property
    def port(self) -> int:
        return self.ports["port"]

    @property
    def running(self) -> bool:
        """Whether its process is there (it may be frozen or not yet ready)."""
        return self._process.running

    def start(self) -> None:
        """Start it, on its old data if it has any; ``wait_ready`` tells when it can be used."""
        for folder in (self.data, self.folder / "log", self.folder / "home"):
            folder.mkdir(mode=0o700, exist_ok=True)
        settings = self.folder / "rabbitmq.conf"
        settings.touch(mode=0o600)
        settings.write_text(SETTINGS.format(user=USER, password=self._passwords[USER], port=self.port))
        cookie = self.folder / "home" / ".erlang.cookie"
        cookie.unlink(missing_ok=True)
        cookie.touch(mode=0o600)
        cookie.write_text(self._passwords[COOKIE])
        cookie.chmod(0o400)
        (self.folder / "enabled_plugins").write_text("[].\n")
        (self.folder / "rabbitmq-env.conf").touch()
        env = self.environment()
        if not self._epmd.running:
            mapper = [str(self._epmd_program), "-port", str(self.ports["epmd"]), "-address", "127.0.0.1"]
            self._epmd.start(mapper, env, self.folder)
            self._epmd.wait_until(lambda: _listens(self.ports["epmd"]), 10, self.ports["epmd"])
        self._process.start([str(self._program)], env, self.folder)

    def wait_ready(self, timeout: float = 90.0) -> None:
        """Return once it speaks AMQP, which is when its boot is complete; raise ``ServersError`` after that."""
        self._process.wait_until(self._is_ready, timeout, self.port)

    def stop(self, *, for_good: bool = False) -> None:
        """End the node and its epmd, at once in either case."""
        self._process.kill()
        self._epmd.kill()

    def kill(self) -> None:
        """SIGKILL the node with its port programs."""
        self.stop()

    def freeze(self) -> None:
        """Stop it in mid-air: connections stay open, nothing is answered, heartbeats included."""
        self._process.freeze()

    def thaw(self) -> None:
        """Let it go on after ``freeze``."""
        self._process.thaw()

    def move(self) -> None:
        """Choose other ports for the next start."""
        self.stop()
        self.ports.move()

    def url(self) -> str:
        """The AMQP URL of the default virtual host, by name: RabbitMQ reads an empty path as one that has none (its URI specification)."""
        return f"amqp://{USER}:{self._passwords[USER]}@127.0.0.1:{self.port}/%2F?heartbeat={HEARTBEAT}"

    def environment(self) -> dict[str, str]:
        """What the node is started with, and what a command needs to find it."""
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
            # The start script then becomes the node itself, in place of a shell that waits for it.
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
