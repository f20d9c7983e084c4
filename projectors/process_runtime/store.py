"""The store of one process manager: positions, processes, history, timers and outgoing commands change in one transaction.

Invariants, for every process, whatever is delivered twice, out of order, or at once in several operating-system processes, and wherever one
of these dies:

1. Each input is in the history once (by its id), and is decided at most once; the state is what its decided inputs make of it, in order.
2. The state, the timers that are set and the commands that are queued are those of the decided inputs, no more and no fewer.
3. Inputs of a failed process wait, in the order of arrival; no other process waits for it.

The row of a process is locked from before its history is read until the commit: so writers of one process follow one another.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from projectors.process_runtime import rows
from projectors.process_runtime.deciding import Process, Progress, Status, advance, is_kept_early, is_start
from projectors.processes.process import Act, EventInput, Input, OperatorInput, ProcessManager
from projectors.stores.port import Advance, Commit, Event, ProjectionError
from projectors.stores.postgres_store import PostgresStore
from shared.observability.tracing import is_sampled
from shared.processes import folder_of
from shared.runtime.postgres import Connection

SOON: Final = timedelta(seconds=1)
PROCESS_ID: Final = re.compile(r"[\w.:~@+=-]{1,128}")

Correlated = Sequence[tuple[str, Input]]
"""(process id, input), in the order of arrival."""


class ProcessStore(PostgresStore[Correlated]):
    def __init__(self, manager: ProcessManager, url: str, *, session: Mapping[str, str] | None = None) -> None:
        super().__init__(url, folder_of(manager.name), session=session)
        self.url = url
        self.manager = manager
        self.timer_soon = asyncio.Event()
        """Set after a commit that has set a timer which is due within SOON."""
        self._sets_timer_soon = False

    async def commit(self, commit: Commit) -> None:
        await super().commit(commit)
        self._committed()

    def fold(self, advances: Sequence[Advance]) -> Correlated:
        """Which process each event is for. Raises ProjectionError where ``correlate`` raises: such an event holds its stream."""
        found: list[tuple[str, Input]] = []
        failures: list[tuple[Event, BaseException]] = []
        for each in advances:
            for event in each.events:
                try:
                    given = input_of(event)
                    process = self.manager.correlate(given)
                    if process is not None:
                        found.append((_valid(process), given))
                except Exception as error:
                    failures.append((event, error))
                    break
        if failures:
            (event, cause), *others = failures
            raise ProjectionError(event, *others) from cause
        return found

    async def write(self, connection: Connection, changes: Correlated) -> None:
        await self.handle(connection, changes)

    async def handle(self, connection: Connection, given: Correlated) -> Mapping[str, Process]:
        """Record and decide these inputs, within the caller's transaction; returns the processes that they were for, as they are now.

        An input that is in the history already is dropped, and so is one for a process that does not exist, unless it begins the
        process or waits for its start.
        """
        if not given:
            return {}
        manager = self.manager
        beginning = {process for process, each in given if is_start(manager, each) or is_kept_early(manager, each)}
        locked = await rows.lock(connection, [(process, each.id) for process, each in given], beginning=beginning)
        by_process: dict[str, dict[str, Input]] = {}
        for process, each in given:
            if process in locked.processes and (process, each.id) not in locked.known:
                by_process.setdefault(process, {}).setdefault(each.id, each)
        resumed = [
            locked.processes[name] for name, new in by_process.items() if self._resumes(locked.processes[name], new)
        ]
        if resumed:
            await rows.load_waiting(connection, resumed)
        steps: list[Progress] = [
            advance(manager, locked.processes[name], list(new.values()), locked.now)
            for name, new in sorted(by_process.items())
        ]
        if steps:
            await rows.write(connection, steps, locked.now)
            soon = locked.now + SOON
            self._sets_timer_soon |= any(due_at <= soon for step in steps for _, due_at in step.timers.values())
        return locked.processes

    def _resumes(self, process: Process, given: Mapping[str, Input]) -> bool:
        """Whether what waits in the process can be decided now."""
        match process.status:
            case Status.AWAITING_START:
                return any(is_start(self.manager, each) for each in given.values())
            case Status.FAILED:
                return any(isinstance(each, OperatorInput) and each.act is Act.RETRY for each in given.values())
            case _:
                return False

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection in a transaction, for the tasks beside the projector. Raises StoreUnavailableError for outages."""
        async with self._connection() as connection, connection.transaction():
            yield connection
        self._committed()

    def _committed(self) -> None:
        """A commit of another task may be meant: it is harmless to look for due timers too often."""
        if self._sets_timer_soon:
            self._sets_timer_soon = False
            self.timer_soon.set()


def input_of(event: Event) -> EventInput:
    return EventInput(
        f"{event.stream}@{event.version}",
        event.time,
        event.stream,
        event.version,
        event.type,
        event.data,
        event.traceparent if is_sampled(event.traceparent) else None,
    )


def _valid(process: str) -> str:
    if not PROCESS_ID.fullmatch(process):
        raise ValueError(f"{process[:200]!r} is no process id: an id has 1 to 128 letters, digits or . _ : ~ @ + = -")
    return process
