"""A private PostgreSQL: committed data survive ``kill`` and a new ``start`` on the same data and port.

It listens on 127.0.0.1 only, over TCP only (no socket file), with SCRAM passwords, and has the databases and roles
of ``databases``. PostgreSQL refuses to run as root: under root it runs as the user ``postgres``, or ``nobody`` if there
is none, and that user owns the data folder.
"""

import asyncio
import contextlib
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from deploy.servers import programs
from deploy.servers.accounts import databases
from deploy.servers.accounts.credentials import credentials
from deploy.servers.accounts.urls import ROLES
from deploy.servers.errors import ServersError
from deploy.servers.persistent_ports import PersistentPorts
from deploy.servers.process import ServerProcess
from shared.runtime.roles import OWNER

ADMIN: Final = "tidemark_admin"
SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "max_wal_size": "2GB",
    "idle_in_transaction_session_timeout": "60s",
    "password_encryption": "scram-sha-256",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "GMT",
    "log_timezone": "GMT",
    # Shared memory as files in the data folder: a SIGKILL leaves nothing in /dev/shm.
    "dynamic_shared_memory_type": "mmap",
}


class Postgres:
    """One private server in ``folder``; its data are in the same folder, or in one that the server's user can access."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = PersistentPorts(folder, "port")
        self._programs = programs.postgres_folder()
        self._user = unprivileged_user()
        self.data = accessible_folder(folder) / "data"
        self._process = ServerProcess("PostgreSQL", folder, user=self._user, quick_signal=signal.SIGQUIT)
        self._passwords = credentials(folder, ADMIN, *ROLES)
        self.read_databases: Mapping[str, str] = {}
        """Read model → its database; filled when the server is ready."""

    @property
    def port(self) -> int:
        return self.ports["port"]

    @property
    def running(self) -> bool:
        """Whether its process exists (it may be frozen or not yet ready)."""
        return self._process.running

    def start(self) -> None:
        """Start the server on its existing data, if any; ``wait_ready`` returns when it can be used."""
        # The marker is beside the passwords and is written last: data without passwords, or incomplete, cannot be used.
        made = self.folder / "made"
        if not made.exists():
            self._initialise()
            made.touch()
        settings = [argument for key, value in SETTINGS.items() for argument in ("-c", f"{key}={value}")]
        argv = [str(self._programs / "postgres"), "-D", str(self.data), "-p", str(self.port), *settings]
        self._process.start(argv, programs.environment(), self.data)

    def wait_ready(self, timeout: float = 60.0) -> None:
        """Return when it accepts connections and has its databases. Raises ``ServersError`` after ``timeout`` s."""
        self._process.wait_until(self._is_ready, timeout, self.port)
        if not self.read_databases:
            self.read_databases = asyncio.run(
                databases.create("127.0.0.1", self.port, ADMIN, self._passwords[ADMIN], self._passwords)
            )

    def stop(self, *, discard_data: bool = False) -> None:
        """Stop the server with a checkpoint, or, with ``discard_data`` (the data are not needed again), without."""
        self._process.stop(signal.SIGQUIT if discard_data else signal.SIGINT, 10)
        self._free_shared_memory()

    def kill(self) -> None:
        """SIGKILL the server and all its backends."""
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

    def url(self, database: str, role: str = OWNER) -> str:
        """The URL of one database for one role, or for the administrator."""
        return f"postgresql://{role}:{self._passwords[role]}@127.0.0.1:{self.port}/{database}"

    def admin_url(self, database: str = "postgres") -> str:
        """The URL of one database for the superuser."""
        return self.url(database, ADMIN)

    def _initialise(self) -> None:
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(mode=0o700)
        password = self.data.with_name("initial-password")
        password.touch(mode=0o600)
        password.write_text(self._passwords[ADMIN])
        account = pwd.getpwnam(self._user) if self._user else None
        if account:
            os.chown(self.data, account.pw_uid, account.pw_gid)
            os.chown(password, account.pw_uid, account.pw_gid)
        argv: list[str | Path] = [self._programs / "initdb", "-D", self.data, "--username", ADMIN, "--pwfile", password]
        argv += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"]
        done = subprocess.run(
            argv,
            env=programs.environment(),
            cwd=self.data,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
        )
        password.unlink()
        if done.returncode:
            reason = " | ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
            raise ServersError(f"initdb could not make a PostgreSQL in {self.data}: {reason}")

    def _is_ready(self) -> bool:
        # As pg_ctl does: the server writes its pid, and on line 8 its state, into this file.
        with contextlib.suppress(OSError):
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            return len(lines) >= 8 and lines[0] == str(self._process.pid) and lines[7].strip() == "ready"
        return False

    def _free_shared_memory(self) -> None:
        # A killed server leaves a few bytes of System V shared memory, named on line 7; its next start would free them.
        with contextlib.suppress(OSError, IndexError):
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            segment = lines[6].split()[1]
            if ipcrm := programs.find("ipcrm"):
                subprocess.run([ipcrm, "-m", segment], capture_output=True, timeout=5, check=False)


def unprivileged_user() -> str | None:
    """The user to run PostgreSQL as: ``None`` for the current user, an unprivileged user if that is root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            pwd.getpwnam(name)
            return name
    raise ServersError("PostgreSQL does not run as root, and there is no user postgres or nobody to run it as")


def is_traversable(folder: Path) -> bool:
    """Whether PostgreSQL's user can access ``folder``; always true if that is the current user."""
    if unprivileged_user() is None:
        return True
    return all(step.stat().st_mode & 0o001 for step in [folder, *folder.parents])


def accessible_folder(folder: Path) -> Path:
    """``folder``, or, if PostgreSQL's user cannot access it (root's home), a folder in /var/lib."""
    if is_traversable(folder):
        return folder
    elsewhere = Path("/var/lib/tidemark") / hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    elsewhere.mkdir(mode=0o711, parents=True, exist_ok=True)
    return elsewhere
