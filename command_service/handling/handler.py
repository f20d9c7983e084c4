"""Handling commands as a unit of work: all of a batch in one transaction where nothing interferes, else one by one.

    load ──▶ decide (pure) ──claims missing, state unfit?──▶ load claims, replay streams ──▶ decide again ──▶ append
                                                                                   conflict: one by one, each until it is in ◀──┘

An outage of the database is waited for, with jittered back-off; nothing is given up and nothing is answered meanwhile.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

import asyncpg
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from command_service.handling.decision import Decide, Failed, LoadedStreams, Outcome, decide
from command_service.handling.epochs import settled
from command_service.handling.event_store import ConflictError, append, load, load_claims
from command_service.handling.isolation import MOST_DEATHS, ProcessKilledError
from command_service.handling.parsing import Command
from command_service.handling.pending import PROCESS_KILLED, hold, suspect
from command_service.handling.state_replay import replay
from shared.runtime.outage import OutageRetry
from shared.runtime.postgres import KEY_LOOKUPS, Connection, Database, is_outage
from shared.runtime.reasons import reason

log: Final = logging.getLogger(__name__)

T = TypeVar("T")


class Handler:
    """Gives commands their outcomes."""

    def __init__(
        self,
        write_db_url: str,
        *,
        decide: Decide = decide,
        stopping: asyncio.Event | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._decide = decide
        self._database = Database(write_db_url, session=KEY_LOOKUPS)
        self._clock = clock
        self._outages = OutageRetry("the write database", is_outage, stopping=stopping)

    @property
    def trouble(self) -> str | None:
        """What is in hand and does not come to its end, and why: the write database is away, or somebody has locked it."""
        return self._outages.trouble

    async def handle(self, commands: Sequence[Command]) -> list[Outcome | Failed]:
        """One result for each command, in order; an outcome, or why there is none, is committed by the time it is returned."""
        try:
            results = await self._outages.until_up(
                lambda: self._unit(commands), what=f"deciding {len(commands)} commands"
            )
        except (ConflictError, asyncpg.PostgresError) as error:
            log.info("a batch of %d is handled one by one: %s", len(commands), reason(error))
            results = [await self._alone(command) for command in commands]
        return await self._held(commands, results)

    async def handle_suspect(self, command: Command) -> Outcome | Failed:
        """The same for one that a worker may have died of: written down before it is tried, and tried MOST_DEATHS times."""
        attempts = await self._outages.until_up(
            lambda: self._on(lambda connection: suspect(connection, command)), what="recording what is tried alone"
        )
        if attempts > MOST_DEATHS:
            error = ProcessKilledError(f"the worker died each of {attempts - 1} times that it tried this command alone")
            [result] = await self._held([command], [Failed(error, PROCESS_KILLED)])
            return result
        [result] = await self.handle([command])
        return result

    async def open(self) -> None:
        """Wait until the write database answers."""
        await self._outages.until_up(lambda: self._unit([]), what="reaching it")

    async def close(self) -> None:
        await self._database.close()

    async def _alone(self, command: Command) -> Outcome | Failed:
        """A lost race is run again: every round somebody wins, so this ends."""
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(ConflictError), wait=wait_random_exponential(multiplier=0.005, max=0.2)
            ):
                with attempt:
                    results = await self._outages.until_up(lambda: self._unit([command]), what="deciding a command")
        except asyncpg.PostgresError as error:
            return Failed(error)
        return results[0]

    async def _held(self, commands: Sequence[Command], results: list[Outcome | Failed]) -> list[Outcome | Failed]:
        """The results; what has no outcome is written down."""
        held = [
            (each, result.reason) for each, result in zip(commands, results, strict=True) if isinstance(result, Failed)
        ]
        if held:
            await self._outages.until_up(
                lambda: self._on(lambda connection: hold(connection, held)), what="recording what has no outcome"
            )
        return results

    async def _on(self, step: Callable[[Connection], Awaitable[T]]) -> T:
        pool = await self._database.pool()
        async with pool.acquire(timeout=10) as connection:
            return await step(connection)

    async def _unit(self, commands: Sequence[Command]) -> list[Outcome | Failed]:
        pool = await self._database.pool()
        async with pool.acquire(timeout=10) as connection:
            now = self._clock()
            epoch = await settled(connection)
            known = await load(connection, commands, epoch) if commands else LoadedStreams()
            batch = self._decide(commands, known, now)
            while not batch.is_complete:
                known.claims |= await load_claims(connection, batch.missing) if batch.missing else {}
                for stream, aggregate in batch.unfit.items():
                    known.replayed[stream] = await replay(connection, stream, aggregate, known.streams[stream].version)
                batch = self._decide(commands, known, now)
            await append(connection, batch, known, now, epoch)
        return batch.results
