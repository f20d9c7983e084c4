"""Handling commands as a unit of work: all of a batch in one transaction where nothing interferes, else one by one.

    load ──▶ decide (pure) ──claims missing?──▶ load claims ──▶ decide again ──▶ append ──conflict──▶ one by one, each until it is in

An outage of the database is waited for, with jittered back-off; nothing is given up and nothing is answered meanwhile.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import asyncpg
from tenacity import AsyncRetrying, retry_if_exception, retry_if_exception_type, wait_random_exponential

from command_service.decision import Failed, Known, Outcome, decide
from command_service.epochs import settled
from command_service.event_store import ConflictError, append, load, load_claims
from command_service.intake import Command
from shared.postgres import BY_KEY_ONLY, Database, is_outage
from shared.progress import Progress
from shared.reasons import reason

log: Final = logging.getLogger(__name__)


class Handler:
    """Gives commands their outcomes."""

    def __init__(self, write_db_url: str, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._database = Database(write_db_url, session=BY_KEY_ONLY)
        self._clock = clock
        self._progress = Progress()
        self._reached = False

    @property
    def trouble(self) -> str | None:
        """What is in hand and does not come to its end, and why: the write database is away, or somebody has locked it."""
        return self._progress.trouble or (None if self._reached else "the write database has not been reached yet")

    async def handle(self, commands: Sequence[Command]) -> list[Outcome | Failed]:
        """One result for each command, in order; an outcome is committed by the time it is returned."""
        try:
            return await self._until_up(f"deciding {len(commands)} commands", lambda: self._unit(commands))
        except (ConflictError, asyncpg.PostgresError) as error:
            log.info("a batch of %d is handled one by one: %s", len(commands), reason(error))
        return [await self._alone(command) for command in commands]

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

    async def _unit(self, commands: Sequence[Command]) -> list[Outcome | Failed]:
        pool = await self._database.pool()
        async with pool.acquire(timeout=10) as connection:
            now = self._clock()
            epoch = await settled(connection)
            known = await load(connection, commands, epoch) if commands else Known()
            batch = decide(commands, known, now)
            while batch.missing:
                known.claims |= await load_claims(connection, batch.missing)
                batch = decide(commands, known, now)
            await append(connection, batch, known, now, epoch)
        return batch.results

    async def _until_up(
        self, what: str, unit: Callable[[], Awaitable[list[Outcome | Failed]]]
    ) -> list[Outcome | Failed]:
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
