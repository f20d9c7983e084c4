"""Runs several child processes as one: all become ready or the start fails, all are stopped together, every unexpected exit is reported.

Lines that the children print are forwarded with the child's name as prefix, in colour on a terminal. A child that ends
without a request is reported as a ``ChildExit`` and is not restarted. When the block of a supervisor ends, however it
ends, no child is left.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, Self, TextIO, TypeVar

from deploy.run.child import Child, ChildExit, Program

T = TypeVar("T")

READY_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 30.0
COLOURS: Final = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)


class ChildExitedError(Exception):
    """A child ended without a request, before or after it was ready, or did not become ready in time."""

    def __init__(self, exit_: ChildExit) -> None:
        super().__init__(str(exit_))
        self.exit = exit_


class Supervisor:
    """Supervises children by name. ``output=None`` suppresses their output (a ``ChildExit`` has the last lines)."""

    def __init__(self, output: TextIO | None = sys.stdout, *, colour: bool | None = None) -> None:
        self._output = output
        tty = output is not None and output.isatty() and "NO_COLOR" not in os.environ
        self._colour = tty if colour is None else colour
        self._children: dict[str, Child] = {}
        self._programs: dict[str, Program] = {}
        self._exited = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self, programs: Iterable[Program], *, ready_within: float = READY_TIMEOUT_S) -> None:
        """Start all programs, in order, and return when all are ready.

        Raises ``ChildExitedError`` for the first that ends, or is not ready within ``ready_within`` seconds; the others
        keep running until ``stop``.
        """
        started = list(programs)
        self._programs |= {program.name: program for program in started}
        for program in started:
            if self.running(program.name):
                raise ValueError(f"{program.name} is already running")
            await self._launch(program)
        waiting = [asyncio.create_task(self._until_ready(self._children[each.name], ready_within)) for each in started]
        try:
            await asyncio.gather(*waiting)
        finally:
            for task in waiting:
                task.cancel()

    async def restart(self, name: str, *, ready_within: float = READY_TIMEOUT_S) -> None:
        """Stop the child if it is running, start it again, and return when it is ready. Raises like ``start``."""
        if child := self._children.get(name):
            await self._stop([child], STOP_TIMEOUT_S)
        await self.start([self._programs[name]], ready_within=ready_within)

    async def kill(self, name: str) -> None:
        """SIGKILL the child and its descendants; it stays down until ``restart``."""
        await self._children[name].kill()

    async def stop(self, within: float = STOP_TIMEOUT_S) -> None:
        """SIGTERM all, the last started first; SIGKILL those that are still running ``within`` seconds later."""
        await self._stop(list(reversed(self._children.values())), within)

    async def unexpected_exit(self) -> ChildExit:
        """Wait until a child ends without a request; returns at once if one already has."""
        while True:
            for child in self._children.values():
                if child.exited.done() and not child.expected_to_end:
                    return child.exited.result()
            # Children may be killed and restarted meanwhile: check again after every exit.
            self._exited.clear()
            await self._exited.wait()

    async def supervise(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``. Raises ChildExitedError, and cancels the work, as soon as a child ends without a request."""
        working, exiting = asyncio.create_task(work), asyncio.create_task(self.unexpected_exit())
        try:
            await asyncio.wait({working, exiting}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise ChildExitedError(exiting.result())
            return working.result()
        finally:
            for task in (working, exiting):
                task.cancel()
            await asyncio.gather(working, exiting, return_exceptions=True)

    def running(self, name: str) -> bool:
        """Whether the child of that name was started and has not ended."""
        child = self._children.get(name)
        return child is not None and child.running

    def exit_of(self, name: str) -> ChildExit | None:
        """How the child of that name ended; ``None`` while it is running, or if it was never started."""
        child = self._children.get(name)
        return child.exited.result() if child is not None and child.exited.done() else None

    def pid(self, name: str) -> int:
        """The process id of the child. Raises ``KeyError`` if it was never started."""
        return self._children[name].pid

    async def _launch(self, program: Program) -> None:
        width = max(len(name) for name in self._programs)
        prefix = f"{program.name:<{width}} │ "
        if self._colour:
            colour = COLOURS[list(self._programs).index(program.name) % len(COLOURS)]
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"

        def print_line(line: str) -> None:
            if self._output is None:
                return
            try:
                print(prefix + line, file=self._output, flush=True)
            except BrokenPipeError:
                # The reader has closed the pipe (`tidemark up | head`); the children keep running.
                self._output = None

        # Removed first, so that a restarted child counts as the last started.
        self._children.pop(program.name, None)
        try:
            child = await Child.start(program, print_line)
        except OSError as error:
            raise ChildExitedError(ChildExit(program.name, f"it could not be started: {error}")) from error
        child.exited.add_done_callback(lambda _: self._exited.set())
        self._children[program.name] = child

    async def _until_ready(self, child: Child, within: float) -> None:
        ready = asyncio.create_task(child.ready.wait())
        try:
            await asyncio.wait({ready, child.exited}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if child.ready.is_set():
            return
        if child.exited.done():
            raise ChildExitedError(child.exited.result())
        raise ChildExitedError(ChildExit(child.program.name, f"not ready within {within:.0f} s", child.last_lines))

    async def _stop(self, children: list[Child], within: float) -> None:
        for child in children:
            child.terminate()
        if children:
            await asyncio.wait([child.exited for child in children], timeout=within)
        for child in children:
            if child.running:
                await child.kill()


async def run_until_stopped(supervisor: Supervisor, programs: Iterable[Program]) -> int:
    """Run the programs until Ctrl-C or SIGTERM (returns 0) or until one of them dies (prints which and why, returns 1).

    On return all of them have ended. A second Ctrl-C while they are stopping has no effect: they are killed only after
    STOP_TIMEOUT_S.
    """
    async with supervisor:
        with _stop_requested() as requested:
            starting = asyncio.create_task(_start_and_watch(supervisor, programs))
            stopping = asyncio.create_task(requested.wait())
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            for task in (starting, stopping):
                task.cancel()
            exited = None if requested.is_set() else await starting
            if exited:
                print(f"tidemark: {exited}", file=sys.stderr, flush=True)
            await supervisor.stop()
    return 1 if exited else 0


async def _start_and_watch(supervisor: Supervisor, programs: Iterable[Program]) -> ChildExit:
    try:
        await supervisor.start(programs)
    except ChildExitedError as error:
        return error.exit
    return await supervisor.unexpected_exit()


@contextmanager
def _stop_requested() -> Iterator[asyncio.Event]:
    requested = asyncio.Event()
    loop = asyncio.get_running_loop()
    caught = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in caught:
        loop.add_signal_handler(number, requested.set)
    try:
        yield requested
    finally:
        for number in caught:
            with contextlib.suppress(ValueError):
                loop.remove_signal_handler(number)
