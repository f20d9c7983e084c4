"""A private Redis (or Valkey): acknowledged writes are on disk, so a ``kill`` and a new ``start`` lose nothing.

Every write is synced to the append-only file before its reply. Its users are in an ACL file (``redis_users``), which has no password, only
hashes; the default user is disabled. It listens on 127.0.0.1 only.
"""

import contextlib
import signal
import socket
from pathlib import Path
from typing import Final

from deploy.servers import programs
from deploy.servers.accounts.credentials import credentials
from deploy.servers.accounts.redis_users import OWNER, RULES, acl
from deploy.servers.persistent_ports import PersistentPorts
from deploy.servers.process import ServerProcess

SETTINGS: Final = """\
bind 127.0.0.1
appendonly yes
appendfsync always
save ""
maxmemory-policy noeviction
daemonize no
loglevel notice
"""


class Redis:
    """One private server in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.ports = PersistentPorts(folder, "port")
        self._program = programs.redis_server()
        self._process = ServerProcess("Redis", folder, quick_signal=signal.SIGKILL)
        self._passwords = credentials(folder, *RULES)

    @property
    def port(self) -> int:
        return self.ports["port"]

    @property
    def running(self) -> bool:
        """Whether its process exists (it may be frozen or not yet ready)."""
        return self._process.running

    def start(self) -> None:
        """Start the server on its existing data, if any; ``wait_ready`` returns when it can be used."""
        self.data.mkdir(mode=0o700, exist_ok=True)
        settings, users = self.folder / "redis.conf", self.folder / "users.acl"
        for file in (settings, users):
            file.touch(mode=0o600)
        users.write_text(acl(self._passwords))
        settings.write_text(f'{SETTINGS}port {self.port}\ndir "{self.data}"\naclfile "{users}"\n')
        self._process.start([str(self._program), str(settings)], programs.environment(), self.data)

    def wait_ready(self, timeout: float = 300.0) -> None:
        """Return when it has loaded its data, for which a large store needs minutes. Raises ``ServersError`` after ``timeout`` s."""
        self._process.wait_until(self._is_ready, timeout, self.port)

    def stop(self, *, discard_data: bool = False) -> None:
        """Stop the server. The append-only file is always complete, so with ``discard_data`` it is killed."""
        self._process.stop(signal.SIGKILL if discard_data else signal.SIGTERM, 5)

    def kill(self) -> None:
        """SIGKILL the server and its children."""
        self._process.kill()

    def freeze(self) -> None:
        """Suspend it: connections stay open, nothing is answered."""
        self._process.freeze()

    def thaw(self) -> None:
        """Resume it after ``freeze``."""
        self._process.thaw()

    def choose_new_ports(self) -> None:
        """Choose a new port for the next start."""
        self.ports.choose_new_ports()

    def url(self, user: str = OWNER) -> str:
        """The URL of database 0 for one user."""
        return f"redis://{user}:{self._passwords[user]}@127.0.0.1:{self.port}/0"

    def _is_ready(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            connection.sendall(f"AUTH {OWNER} {self._passwords[OWNER]}\r\nPING\r\nQUIT\r\n".encode())
            answer = b""
            while received := connection.recv(1024):
                answer += received
            return b"+PONG" in answer
        return False
