"""One child process of ours: started, heard, and ended; what it says can be seen, and why it ended is known.

A child is ready when it prints a line with ``tidemark ready: <its name>``. It has a session of its own, so that
Ctrl-C at the terminal reaches only us, and it is sent SIGTERM by the kernel if we are killed.
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

from deploy.servers import leftovers

LONGEST_LINE: Final = 64 * 1024
LINES_KEPT: Final = 20
DRAIN_S: Final = 1.0
PR_SET_PDEATHSIG: Final = 1

_libc: Final = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Program:
    """What to start. ``env`` is the whole environment of the child."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Death:
    """Which child ended, why (``exit code 3``, ``SIGKILL``), and what it said last."""

    name: str
    why: str
    last_lines: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = "".join(f"\n    {line}" for line in self.last_lines)
        return f"{self.name} died: {self.why}" + (f"; it said last:{said}" if said else "; it said nothing")


class Child:
    """A running program. ``heard`` is called with every line that it prints, on stdout or stderr."""

    def __init__(self, program: Program, process: asyncio.subprocess.Process, heard: Callable[[str], None]) -> None:
        self.program = program
        self.expected_to_end = False
        self.ready = asyncio.Event()
        self._process = process
        self._heard = heard
        self._last: deque[str] = deque(maxlen=LINES_KEPT)
        self.ended = asyncio.create_task(self._follow(), name=f"follow {program.name}")
        """Done, with the reason, when the process has ended and what it printed was heard."""

    @classmethod
    async def start(cls, program: Program, heard: Callable[[str], None]) -> "Child":
        """Start it; raises ``OSError`` if there is no such program."""
        process = await asyncio.create_subprocess_exec(
            *program.argv,
            env=dict(program.env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with(os.getpid()),
        )
        return cls(program, process, heard)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether its process is still there."""
        return self._process.returncode is None

    @property
    def last_lines(self) -> tuple[str, ...]:
        """What it said last."""
        return tuple(self._last)

    def terminate(self) -> None:
        """Ask it to end (SIGTERM); its end is then no surprise."""
        self.expected_to_end = True
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    async def kill(self) -> None:
        """SIGKILL it with all its descendants and return when it has ended."""
        self.expected_to_end = True
        if self.running:
            with contextlib.suppress(psutil.NoSuchProcess):
                await asyncio.to_thread(leftovers.kill_family, psutil.Process(self.pid))
        await self.ended

    async def _follow(self) -> Death:
        reading = asyncio.create_task(self._read())
        code = await self._process.wait()
        # A descendant may hold the pipe open for longer than the child lives.
        await asyncio.wait({reading}, timeout=DRAIN_S)
        if not reading.cancel():
            reading.result()
        why = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        return Death(self.program.name, why, self.last_lines)

    async def _read(self) -> None:
        output = self._process.stdout
        if output is None:
            return
        rest = b""
        while chunk := await output.read(LONGEST_LINE):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > LONGEST_LINE:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._hear(line)
        if rest:
            self._hear(rest)

    def _hear(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        self._last.append(text)
        if f"tidemark ready: {self.program.name}" in text:
            self.ready.set()
        self._heard(text)


def _end_with(parent: int) -> Callable[[], None] | None:
    """What a child does before it becomes its program: ask the kernel to end it with its parent (Linux only)."""
    if _libc is None:
        return None
    prctl = _libc.prctl

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return ask
