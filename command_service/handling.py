"""Handling commands as a unit of work: all of a batch in one transaction where nothing interferes, else one by one.

    load ──▶ decide (pure) ──claims missing, state unfit?──▶ load claims, replay streams ──▶ decide again ──▶ append
                                                                                   conflict: one by one, each until it is in ◀──┘

An outage of the database is waited for, with jittered back-off; nothing is given up and nothing is answered meanwhile.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

import asyncpg
from tenacity import AsyncRetrying, retry_if_exception, retry_if_exception_type, wait_random_exponential

from command_service.decision import Decide, Failed, Known, Outcome, decide
from command_service.epochs import settled
from command_service.event_store import ConflictError, append, load, load_claims
from command_service.intake import Command
from command_service.replaying import replay
from command_service.suspicion import MOST_DEATHS, ProcessKilledError
from command_service.undecided import PROCESS_KILLED, hold, suspect
from shared.postgres import BY_KEY_ONLY, Connection, Database, is_outage
from shared.progress import Progress
from shared.reasons import reason

log: Final = logging.getLogger(__name__)

T = TypeVar("T")


class Handler:
    """Gives commands their outcomes."""

    def __init__(
        self,
        write_db_url: str,
        *,
        decide: Decide = decide,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._decide = decide
        self._database = Database(write_db_url, session=BY_KEY_ONLY)
        self._clock = clock
        self._progress = Progress()
        self._reached = False

    @property
    def trouble(self) -> str | None:
        """What is in hand and does not come to its end, and why: the write database is away, or somebody has locked it."""
        return self._progress.trouble or (None if self._reached else "the write database has not been reached yet")

    async def handle(self, commands: Sequence[Command]) -> list[Outcome | Failed]:
        """One result for each command, in order; an outcome, or why there is none, is committed by the time it is returned."""
        try:
            results = await self._until_up(f"deciding {len(commands)} commands", lambda: self._unit(commands))
        except (ConflictError, asyncpg.PostgresError) as error:
            log.info("a batch of %d is handled one by one: %s", len(commands), reason(error))
            results = [await self._alone(command) for command in commands]
        return await self._held(commands, results)

    async def handle_suspect(self, command: Command) -> Outcome | Failed:
        """The same for one that a worker may have died of: written down before it is tried, and tried MOST_DEATHS times."""
        attempts = await self._until_up(
            "writing down what is tried alone", lambda: self._on(lambda connection: suspect(connection, command))
        )
        if attempts > MOST_DEATHS:
            error = ProcessKilledError(f"the worker died each of {attempts - 1} times that it tried this command alone")
            [result] = await self._held([command], [Failed(error, PROCESS_KILLED)])
            return result
        [result] = await self.handle([command])
        return result

    async def open(self) -> None:
        """Wait until the write database answers."""
        await self._until_up("reaching it", lambda: self._unit([]))

    async def close(self) -> None:
        await self._database.close()

    async def _alone(self, command: Command) -> Outcome | Failed:
        """A lost race is run again: every round somebody wins, so this ends."""
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(ConflictError), wait=wait_random_exponential(multiplier=0.005, max=0.2)
            ):
                with attempt:
                    results = await self._until_up("deciding a command", lambda: self._unit([command]))
        except asyncpg.PostgresError as error:
            return Failed(error)
        return results[0]

    async def _held(self, commands: Sequence[Command], results: list[Outcome | Failed]) -> list[Outcome | Failed]:
        """The results; what has no outcome is written down."""
        held = [
            (each, result.reason) for each, result in zip(commands, results, strict=True) if isinstance(result, Failed)
        ]
        if held:
            await self._until_up(
                "writing down what has no outcome", lambda: self._on(lambda connection: hold(connection, held))
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
            known = await load(connection, commands, epoch) if commands else Known()
            batch = self._decide(commands, known, now)
            while not batch.is_complete:
                known.claims |= await load_claims(connection, batch.missing) if batch.missing else {}
                for stream, aggregate in batch.unfit.items():
                    known.replayed[stream] = await replay(connection, stream, aggregate, known.streams[stream].version)
                batch = self._decide(commands, known, now)
            await append(connection, batch, known, now, epoch)
        return batch.results

    async def _until_up(self, what: str, unit: Callable[[], Awaitable[T]]) -> T:
        with self._progress.step(f"the write database: {what}") as step:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception(is_outage),
                wait=wait_random_exponential(multiplier=0.1, max=5),
                after=lambda state: step.failed(state.outcome.exception() if state.outcome else None),
            ):
                with attempt:
                    results = await unit()
        self._reached = True
        return results
