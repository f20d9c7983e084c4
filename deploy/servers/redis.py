"""A private Redis (or Valkey): what it has answered is on disk, so a ``kill`` and a new ``start`` lose nothing.

Every write is synced to the append-only file before its reply. Two users: ``tidemark`` may do everything,
``reader`` may only read; the nameless default user is off. It listens on 127.0.0.1 only.
"""

import contextlib
import hashlib
import signal
import socket
from pathlib import Path
from typing import Final

from deploy.servers import programs
from deploy.servers.credentials import credentials
from deploy.servers.kept_ports import KeptPorts
from deploy.servers.process import ServerProcess

OWNER: Final = "tidemark"
READER: Final = "reader"
RULES: Final = {
    OWNER: "~* &* +@all",
    READER: "~* resetchannels -@all +@read +@connection +multi +exec +discard +time -@dangerous",
}
SETTINGS: Final = """\
bind 127.0.0.1
appendonly yes
appendfsync always
save ""
maxmemory-policy noeviction
daemonize no
loglevel notice
user default off ~* &* +@all
"""


class Redis:
    """One private server in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.ports = KeptPorts(folder, "port")
        self._program = programs.redis_server()
        self._process = ServerProcess("Redis", folder, quick=signal.SIGKILL)
        self._passwords = credentials(folder, OWNER, READER)

    @property
    def port(self) -> int:
        return self.ports["port"]

    @property
    def running(self) -> bool:
        """Whether its process is there (it may be frozen or not yet ready)."""
        return self._process.running

    def start(self) -> None:
        """Start it, on its old data if it has any; ``wait_ready`` tells when it can be used."""
        self.data.mkdir(mode=0o700, exist_ok=True)
        users = "".join(f"user {user} on {self._hash(user)} {rules}\n" for user, rules in RULES.items())
        settings = self.folder / "redis.conf"
        settings.touch(mode=0o600)
        settings.write_text(f'{SETTINGS}port {self.port}\ndir "{self.data}"\n{users}')
        self._process.start([str(self._program), str(settings)], programs.environment(), self.data)

    def wait_ready(self, timeout: float = 30.0) -> None:
        """Return once it has loaded its data; raise ``ServersError`` after ``timeout`` s."""
        self._process.wait_until(self._is_ready, timeout, self.port)

    def stop(self, *, for_good: bool = False) -> None:
        """End it; the append-only file is complete at every moment, so a kill would do as well (``for_good``)."""
        self._process.stop(signal.SIGKILL if for_good else signal.SIGTERM, 5)

    def kill(self) -> None:
        """SIGKILL the server and its children."""
        self._process.kill()

    def freeze(self) -> None:
        """Stop it in mid-air: connections stay open, nothing is answered."""
        self._process.freeze()

    def thaw(self) -> None:
        """Let it go on after ``freeze``."""
        self._process.thaw()

    def move(self) -> None:
        """Choose another port for the next start."""
        self.ports.move()

    def url(self, user: str = OWNER) -> str:
        """The URL of database 0 for the owner or the reader."""
        return f"redis://{user}:{self._passwords[user]}@127.0.0.1:{self.port}/0"

    def _hash(self, user: str) -> str:
        return "#" + hashlib.sha256(self._passwords[user].encode()).hexdigest()

    def _is_ready(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            connection.sendall(f"AUTH {OWNER} {self._passwords[OWNER]}\r\nPING\r\nQUIT\r\n".encode())
            answer = b""
            while received := connection.recv(1024):
                answer += received
            return b"+PONG" in answer
        return False
