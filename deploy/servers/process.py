"""One server process with its descendants: started, killed, frozen and thawed as a whole.

Servers put their children into sessions of their own (PostgreSQL's backends, Erlang's port programs), so signals are sent
to the process tree, not to a process group. Each server has its own session, so that Ctrl-C at the terminal
reaches the command and not its servers, which must run until the command has finished.
"""

import contextlib
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from deploy.servers import leftovers, ports
from deploy.servers.errors import PortTakenError, ServersError

POLL = 0.02


class ServerProcess:
    """A process that is recorded in ``folder``; ``user`` is the user to run it as (needs root), ``None`` the current one.

    ``quick_signal``: the signal that ends it fastest, for ``leftovers``.
    """

    def __init__(
        self, name: str, folder: Path, *, user: str | None = None, quick_signal: signal.Signals | None = None
    ) -> None:
        self.name = name
        self.folder = folder
        self.user = user
        self.quick_signal = quick_signal
        self.log = folder / "output.log"
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The pid of the process. Raises ``ServersError`` if it was never started."""
        if self._popen is None:
            raise ServersError(f"{self.name} was not started")
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended (a frozen process is running)."""
        return self._popen is not None and self._popen.poll() is None

    def start(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path) -> None:
        """Start and record it; its output is appended to ``output.log``."""
        if self.running:
            raise ServersError(f"{self.name} is already running")
        account = pwd.getpwnam(self.user) if self.user else None
        with self.log.open("ab") as output:
            self._popen = subprocess.Popen(
                argv,
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
            )
        with contextlib.suppress(psutil.NoSuchProcess):
            leftovers.write(
                self.folder / leftovers.PROCESS,
                **leftovers.identity(self._popen.pid),
                quick_signal=int(self.quick_signal) if self.quick_signal else None,
            )

    def wait_until(self, ready: Callable[[], bool], timeout: float, port: int, *more_ports: int) -> None:
        """Return when ``ready()``. Raises ``PortTakenError`` or ``ServersError`` if the process ends first or ``timeout`` s pass."""
        deadline = time.monotonic() + timeout
        while not ready():
            if not self.running:
                taken = not all(map(ports.is_free, (port, *more_ports)))
                error = PortTakenError if taken else ServersError
                raise error(f"{self.name} ended at its start on port {port}: {self.tail()}")
            if time.monotonic() > deadline:
                raise ServersError(f"{self.name} was not ready after {timeout:.0f} s: {self.tail()}")
            time.sleep(POLL)

    def kill(self) -> None:
        """SIGKILL it and all its descendants, frozen or not, and wait until they have ended."""
        if self._popen is not None and self._popen.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                leftovers.kill_process_tree(psutil.Process(self._popen.pid))
            self._popen.wait(5)
        (self.folder / leftovers.PROCESS).unlink(missing_ok=True)

    def stop(self, sent: signal.Signals, timeout: float) -> None:
        """Send the signal ``sent``; kill what is still running after ``timeout`` seconds."""
        if self._popen is not None and self._popen.poll() is None:
            self.thaw()
            self._popen.send_signal(sent)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(timeout)
        self.kill()

    def freeze(self) -> None:
        """SIGSTOP it and all its descendants: connections stay open, nothing is answered."""
        for member in self._process_tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                member.suspend()

    def thaw(self) -> None:
        """SIGCONT what ``freeze`` stopped."""
        for member in self._process_tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                member.resume()

    def tail(self, lines: int = 5) -> str:
        """The last lines of its output, on one line."""
        try:
            text = self.log.read_text(errors="replace")
        except OSError:
            text = ""
        return " | ".join(line.strip() for line in text.splitlines()[-lines:] if line.strip()) or "it printed nothing"

    def _process_tree(self) -> list[psutil.Process]:
        if not self.running:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            return leftovers.process_tree(psutil.Process(self.pid))
        return []
