"""One child process: its output is forwarded line by line, and the reason why it ended is recorded.

A child is ready when it prints a line that contains ``tidemark ready: <its name>``. It runs in a session of its own, so
that Ctrl-C at the terminal reaches only this process; the kernel sends it SIGTERM if this process is killed.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import psutil

from deploy.run.unprivileged import Account
from deploy.servers import leftovers

MAX_LINE_BYTES: Final = 64 * 1024
MAX_KEPT_LINES: Final = 20
DRAIN_S: Final = 1.0
PR_SET_PDEATHSIG: Final = 1

_libc: Final = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Program:
    """A program to start. ``env`` is the whole environment of the child, ``account`` the user to run it as (needs root)."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    account: Account | None = None


@dataclass(frozen=True)
class ChildExit:
    """Which child ended, the reason (``exit code 3``, ``SIGKILL``), and the last lines of its output."""

    name: str
    reason: str
    last_lines: tuple[str, ...] = ()

    def __str__(self) -> str:
        output = "".join(f"\n    {line}" for line in self.last_lines)
        return f"{self.name} died: {self.reason}" + (
            f"; its last output:{output}" if output else "; it printed nothing"
        )


class Child:
    """A running program. ``on_line`` is called with every line that it prints, on stdout or stderr."""

    def __init__(self, program: Program, process: asyncio.subprocess.Process, on_line: Callable[[str], None]) -> None:
        self.program = program
        self.expected_to_end = False
        self.ready = asyncio.Event()
        self._process = process
        self._on_line = on_line
        self._last: deque[str] = deque(maxlen=MAX_KEPT_LINES)
        self.exited = asyncio.create_task(self._wait_for_exit(), name=f"follow {program.name}")
        """Done when the process has ended and its output has been read; the result has the reason."""

    @classmethod
    async def start(cls, program: Program, on_line: Callable[[str], None]) -> "Child":
        """Start the program. Raises ``OSError`` if it does not exist."""
        process = await asyncio.create_subprocess_exec(
            *program.argv,
            env=dict(program.env) | (program.account.environ() if program.account else {}),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=terminate_with_parent(os.getpid()),
            **(program.account.options() if program.account else {}),
        )
        return cls(program, process, on_line)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether its process has not ended."""
        return self._process.returncode is None

    @property
    def last_lines(self) -> tuple[str, ...]:
        """The last lines of its output."""
        return tuple(self._last)

    def terminate(self) -> None:
        """Send SIGTERM. Its exit is expected from then on."""
        self.expected_to_end = True
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    async def kill(self) -> None:
        """SIGKILL it and all its descendants, and return when it has ended."""
        self.expected_to_end = True
        if self.running:
            with contextlib.suppress(psutil.NoSuchProcess):
                await asyncio.to_thread(leftovers.kill_process_tree, psutil.Process(self.pid))
        await self.exited

    async def _wait_for_exit(self) -> ChildExit:
        reading = asyncio.create_task(self._read())
        code = await self._process.wait()
        # A descendant may hold the pipe open after the child has ended.
        await asyncio.wait({reading}, timeout=DRAIN_S)
        if not reading.cancel():
            reading.result()
        reason = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        return ChildExit(self.program.name, reason, self.last_lines)

    async def _read(self) -> None:
        output = self._process.stdout
        if output is None:
            return
        rest = b""
        while chunk := await output.read(MAX_LINE_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > MAX_LINE_BYTES:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._handle_line(line)
        if rest:
            self._handle_line(rest)

    def _handle_line(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        self._last.append(text)
        if f"tidemark ready: {self.program.name}" in text:
            self.ready.set()
        self._on_line(text)


def terminate_with_parent(parent: int) -> Callable[[], None] | None:
    """What a child runs before exec: request SIGTERM from the kernel when its parent dies (Linux only)."""
    if _libc is None:
        return None
    prctl = _libc.prctl

    def request_signal() -> None:
        prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return request_signal
