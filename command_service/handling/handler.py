"""Handling commands as a unit of work: a whole batch in one transaction if there is no conflict, else one by one.

    load ──▶ decide (pure) ──claims missing, state outdated?──▶ load claims, replay streams ──▶ decide again ──▶ append
                                                                             conflict: one by one, each retried until it succeeds ◀──┘

During an outage of the database it is retried, with jittered back-off; nothing is given up and no reply is sent meanwhile.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Final, TypeVar

import asyncpg
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from command_service.handling.decision import Decide, Failed, LoadedStreams, Result, decide
from command_service.handling.epochs import ensure_current
from command_service.handling.event_store import ConflictError, append, hash_claims, load, load_claims
from command_service.handling.isolation import MAX_DEATHS, ProcessKilledError
from command_service.handling.parsing import Command, Message
from command_service.handling.pending import PROCESS_KILLED, record_attempt, record_undecided
from command_service.handling.state_replay import replay
from command_service.privacy.personal_data import (
    kept_digest,
    opened,
    sealed,
    subject_of_envelope,
    subjects_in,
    with_sealed_texts,
)
from command_service.scheduling.scheduled_commands import Waiting, schedule
from command_service.senders.directory import read_senders
from command_service.senders.permission import Sender
from shared.observability.tracing import log_field
from shared.privacy.key_database import CLAIMS, KeyDatabase
from shared.privacy.sealing import Keys
from shared.runtime.outage import OutageRetry
from shared.runtime.postgres import KEY_LOOKUPS, Connection, Database, is_outage
from shared.runtime.reasons import reason

log: Final = logging.getLogger(__name__)

T = TypeVar("T")


class Handler:
    """Decides commands and commits their outcomes."""

    def __init__(
        self,
        write_db_url: str,
        keys_db_url: str,
        *,
        decide: Decide = decide,
        stopping: asyncio.Event | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._decide = decide
        self._database = Database(write_db_url, session=KEY_LOOKUPS)
        self._clock = clock
        self._outages = OutageRetry("the write database", is_outage, stopping=stopping)
        self._keys = KeyDatabase(keys_db_url)
        self._key_outages = OutageRetry("the key database", is_outage, stopping=stopping)
        self._claims_secret = b""
        """Empty until this worker has decided something: until then an older one may record claims in clear."""

    @property
    def trouble(self) -> str | None:
        """The step that makes no progress, and why: a database is unavailable, or a lock is held in it."""
        return self._key_outages.stalls.trouble or self._outages.trouble

    async def handle(self, commands: Sequence[Command]) -> list[Result]:
        """One result for each command, in order; outcomes, and reasons why there is none, are committed before it returns."""
        try:
            results = await self._outages.until_up(
                lambda: self._unit_of_work(commands), what=f"deciding {len(commands)} commands"
            )
        except (ConflictError, asyncpg.PostgresError) as error:
            log.info("a batch of %d is handled one by one: %s", len(commands), reason(error))
            results = [await self._handle_alone(command) for command in commands]
        return await self._record_failures(commands, results)

    async def handle_suspect(self, command: Command) -> Result:
        """Like ``handle``, for a command that may kill the worker: each attempt is recorded first, up to MAX_DEATHS."""
        attempts = await self._outages.until_up(
            lambda: self._with_connection(lambda connection: record_attempt(connection, command)),
            what="recording what is tried alone",
        )
        if attempts > MAX_DEATHS:
            error = ProcessKilledError(f"the worker died each of {attempts - 1} times that it tried this command alone")
            [result] = await self._record_failures([command], [Failed(error, PROCESS_KILLED)])
            return result
        [result] = await self.handle([command])
        return result

    async def schedule(self, commands: Sequence[Waiting]) -> None:
        """Keep these commands until they are due, sealed, committed before it returns."""
        keys = await self._keys_of(subjects_in((waiting.command for waiting in commands), ()))
        secret = self._claims_secret
        commands = [
            each._replace(command=replace(sealed(each.command, keys), digest=kept_digest(each.command, keys, secret)))
            for each in commands
        ]
        await self._outages.until_up(
            lambda: self._with_connection(lambda connection: schedule(connection, commands)),
            what="recording what is scheduled",
        )

    async def senders(self) -> list[Sender]:
        """The services that may send commands."""
        return await self._outages.until_up(lambda: self._with_connection(read_senders), what="reading who may send")

    async def open(self) -> None:
        """Wait until the write database responds."""
        await self._key_outages.until_up(partial(self._keys.secret, CLAIMS), what="reaching it")
        await self._outages.until_up(lambda: self._unit_of_work([]), what="reaching it")

    async def opened(self, message: Message) -> Message:
        """The message with the personal texts of commands that were kept sealed in clear."""
        kept = [part for part in message.parts if isinstance(part, Command) and with_sealed_texts(part.envelope)]
        if not kept:
            return message
        subjects = {subject for part in kept if (subject := subject_of_envelope(part.envelope)) is not None}
        keys = await self._key_outages.until_up(partial(self._keys.keys, subjects), what="opening what is sealed")
        parts = (opened(part, keys) if part in kept and isinstance(part, Command) else part for part in message.parts)
        return replace(message, parts=tuple(parts))

    async def close(self) -> None:
        await self._database.close()
        await self._keys.close()

    async def _handle_alone(self, command: Command) -> Result:
        """Retry after conflicts: in every round one writer succeeds, so this ends."""
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(ConflictError), wait=wait_random_exponential(multiplier=0.005, max=0.2)
            ):
                with attempt:
                    results = await self._outages.until_up(
                        lambda: self._unit_of_work([command]), what="deciding a command"
                    )
        except asyncpg.PostgresError as error:
            return Failed(error)
        return results[0]

    async def _record_failures(self, commands: Sequence[Command], results: list[Result]) -> list[Result]:
        """Record the commands without an outcome; return the results."""
        held = [
            (each, result.reason) for each, result in zip(commands, results, strict=True) if isinstance(result, Failed)
        ]
        for command, why in held:
            fields = {"command_id": command.envelope.id, "command_type": command.envelope.type, "reason": why}
            log.error("a command has no outcome yet: %s", why, extra=fields | log_field(command.envelope.traceparent))
        if held:
            await self._outages.until_up(
                lambda: self._with_connection(lambda connection: record_undecided(connection, held)),
                what="recording what has no outcome",
            )
        return results

    async def _with_connection(self, step: Callable[[Connection], Awaitable[T]]) -> T:
        pool = await self._database.pool()
        async with pool.acquire(timeout=10) as connection:
            return await step(connection)

    async def _keys_of(self, subjects: Collection[str]) -> Keys:
        """The keys of these subjects, made if they have none and are not erased."""
        if not subjects:
            return {}
        return await self._key_outages.until_up(
            lambda: self._keys.keys(subjects, make=subjects), what=f"reading the keys of {len(subjects)} persons"
        )

    async def _secret_of_claims(self, connection: Connection) -> bytes:
        """At the first batch, claims in clear are hashed: workers of an older version no longer decide now."""
        if not self._claims_secret:
            secret = await self._key_outages.until_up(partial(self._keys.secret, CLAIMS), what="reading a secret")
            await hash_claims(connection, secret)
            self._claims_secret = secret
        return self._claims_secret

    async def _unit_of_work(self, commands: Sequence[Command]) -> list[Result]:
        pool = await self._database.pool()
        async with pool.acquire(timeout=10) as connection:
            now = self._clock()
            epoch = await ensure_current(connection)
            known = await load(connection, commands, epoch) if commands else LoadedStreams()
            if commands:
                known.keys = await self._keys_of(subjects_in(commands, known.streams))
                known.claims_secret = await self._secret_of_claims(connection)
            batch = self._decide(commands, known, now)
            while not batch.is_complete:
                known.claims |= await load_claims(connection, batch.missing) if batch.missing else {}
                for stream, aggregate in batch.outdated.items():
                    known.replayed[stream] = await replay(connection, stream, aggregate, known.streams[stream].version)
                batch = self._decide(commands, known, now)
            await append(connection, batch, known, now, epoch)
        return batch.results
