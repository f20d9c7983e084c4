"""Runs several child processes as one: all ready or none, all stopped together, and no death goes unnoticed.

Lines that the children print are passed on, each after its child's name, in colour on a terminal. A child that ends
without having been asked to is a ``Death``; nobody restarts it in silence. Whatever way the block of a supervisor is
left, its children are gone afterwards.
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

from deploy.run.child import Child, Death, Program

T = TypeVar("T")

READY_WITHIN: Final = 60.0
STOP_WITHIN: Final = 30.0
COLOURS: Final = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)


class DiedError(Exception):
    """A child ended that was not asked to, before it was ready or after, or did not become ready in time."""

    def __init__(self, death: Death) -> None:
        super().__init__(str(death))
        self.death = death


class Supervisor:
    """The children by name. ``output=None`` keeps their lines off the terminal (the last ones are in a ``Death``)."""

    def __init__(self, output: TextIO | None = sys.stdout, *, colour: bool | None = None) -> None:
        self._output = output
        tty = output is not None and output.isatty() and "NO_COLOR" not in os.environ
        self._colour = tty if colour is None else colour
        self._children: dict[str, Child] = {}
        self._programs: dict[str, Program] = {}
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self, programs: Iterable[Program], *, ready_within: float = READY_WITHIN) -> None:
        """Start them all, in order, and return when all are ready.

        Raises ``DiedError`` for the first that ends, or is not ready within ``ready_within`` seconds; the others are
        left as they are (``stop`` ends them).
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

    async def restart(self, name: str, *, ready_within: float = READY_WITHIN) -> None:
        """Stop the child if it is running, start it again, and return when it is ready; raises like ``start``."""
        if child := self._children.get(name):
            await self._end([child], STOP_WITHIN)
        await self.start([self._programs[name]], ready_within=ready_within)

    async def kill(self, name: str) -> None:
        """SIGKILL the child and its descendants; it stays down until ``restart``."""
        await self._children[name].kill()

    async def stop(self, within: float = STOP_WITHIN) -> None:
        """SIGTERM all, the last started first; SIGKILL what is still there ``within`` seconds later."""
        await self._end(list(reversed(self._children.values())), within)

    async def died(self) -> Death:
        """Wait until a child ends that was not asked to; returns at once if one has already."""
        while True:
            for child in self._children.values():
                if child.ended.done() and not child.expected_to_end:
                    return child.ended.result()
            # Children may be killed and restarted meanwhile: look again at every change.
            self._changed.clear()
            await self._changed.wait()

    async def watched(self, work: Coroutine[Any, Any, T]) -> T:
        """The work's result. Raises DiedError as soon as a child ends that was not asked to, and the work is called off."""
        working, dying = asyncio.create_task(work), asyncio.create_task(self.died())
        try:
            await asyncio.wait({working, dying}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise DiedError(dying.result())
            return working.result()
        finally:
            for task in (working, dying):
                task.cancel()
            await asyncio.gather(working, dying, return_exceptions=True)

    def running(self, name: str) -> bool:
        """Whether the child of that name was started and has not ended."""
        child = self._children.get(name)
        return child is not None and child.running

    def death(self, name: str) -> Death | None:
        """How the child of that name ended; ``None`` while it is running, or if it was never started."""
        child = self._children.get(name)
        return child.ended.result() if child is not None and child.ended.done() else None

    def pid(self, name: str) -> int:
        """The process id of the child; raises ``KeyError`` if it was never started."""
        return self._children[name].pid

    async def _launch(self, program: Program) -> None:
        width = max(len(name) for name in self._programs)
        prefix = f"{program.name:<{width}} │ "
        if self._colour:
            colour = COLOURS[list(self._programs).index(program.name) % len(COLOURS)]
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"

        def heard(line: str) -> None:
            if self._output is None:
                return
            try:
                print(prefix + line, file=self._output, flush=True)
            except BrokenPipeError:
                # Nobody reads any more (`tidemark up | head`): that is no reason for the children to stop.
                self._output = None

        # Forgotten first, so that a restarted child is the last to have been started.
        self._children.pop(program.name, None)
        try:
            child = await Child.start(program, heard)
        except OSError as error:
            raise DiedError(Death(program.name, f"it could not be started: {error}")) from error
        child.ended.add_done_callback(lambda _: self._changed.set())
        self._children[program.name] = child

    async def _until_ready(self, child: Child, within: float) -> None:
        ready = asyncio.create_task(child.ready.wait())
        try:
            await asyncio.wait({ready, child.ended}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if child.ready.is_set():
            return
        if child.ended.done():
            raise DiedError(child.ended.result())
        raise DiedError(Death(child.program.name, f"not ready within {within:.0f} s", child.last_lines))

    async def _end(self, children: list[Child], within: float) -> None:
        for child in children:
            child.terminate()
        if children:
            await asyncio.wait([child.ended for child in children], timeout=within)
        for child in children:
            if child.running:
                await child.kill()


async def run_until_stopped(supervisor: Supervisor, programs: Iterable[Program]) -> int:
    """Run the programs until Ctrl-C or SIGTERM (returns 0) or until one of them dies (says which and why, returns 1).

    In both cases all of them have ended on return. A second Ctrl-C while they are stopping changes nothing: they are
    given their time, and killed after it.
    """
    async with supervisor:
        with _stop_requested() as requested:
            starting = asyncio.create_task(_start_and_watch(supervisor, programs))
            asked = asyncio.create_task(requested.wait())
            await asyncio.wait({starting, asked}, return_when=asyncio.FIRST_COMPLETED)
            for task in (starting, asked):
                task.cancel()
            death = None if requested.is_set() else await starting
            if death:
                print(f"tidemark: {death}", file=sys.stderr, flush=True)
            await supervisor.stop()
    return 1 if death else 0


async def _start_and_watch(supervisor: Supervisor, programs: Iterable[Program]) -> Death:
    try:
        await supervisor.start(programs)
    except DiedError as error:
        return error.death
    return await supervisor.died()


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
