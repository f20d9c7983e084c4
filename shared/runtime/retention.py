"""What is older than its retention goes, in small batches, by the database's clock, without being in the way of live work.

    every hour, for each rule:  DELETE … LIMIT a batch, in one transaction ──▶ pause four times as long ──▶ … until nothing is left

One process at a time prunes a database (an advisory lock for each batch); which one does not matter. After an outage, or a statement
that failed, which is reported, the next pass goes on. What is pruned is counted in the log.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final

import asyncpg
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.runtime.postgres import Database, is_outage
from shared.runtime.reasons import reason

log: Final = logging.getLogger(__name__)

BATCH: Final = 1000
SHARE_OF_TIME: Final = 0.2
"""The most of the time that a pass spends in the database."""
SHORTEST_PAUSE_S: Final = 0.05

TRY_LOCK: Final = "SELECT pg_try_advisory_xact_lock(hashtextextended('tidemark.retention', 0))"

Days = Annotated[int, Field(ge=0, le=36_500)]
"""0: for ever."""


class RetentionOptions(BaseSettings):
    """``TIDEMARK_OUTCOMES_RETENTION_DAYS`` … Raises pydantic.ValidationError, naming the setting, for one that is out of range."""

    model_config = SettingsConfigDict(env_prefix="TIDEMARK_", frozen=True, env_ignore_empty=True)

    outcomes_retention_days: Days = 365
    """Outcomes of commands, from their decision on. A command whose outcome is gone is decided again if it is sent again."""
    rejections_retention_days: Days | None = None
    """The same for rejections, if they go earlier; None: like all outcomes."""
    undecided_retention_days: Days = 365
    """Why a command has no outcome, from the failure on. The command itself is a dead letter."""
    letters_retention_days: Days = 365
    """Closed dead letters with their bodies, failures and edited commands, from their closing on. Live ones stay."""
    failures_retention_days: Days = 90
    """Earlier failures of live letters; the latest of each stays."""
    jobs_retention_days: Days = 90
    """The letters of finished replay jobs, and answers to operators' requests: a request that is repeated later is a new one."""
    audit_retention_days: Days = 0
    """The audit; the database keeps it for 30 days whatever this says. What stays is still verifiable."""
    processes_retention_days: Days = 365
    """Inputs and commands of finished processes, from their last change on. The processes themselves stay."""
    retention_every_s: Annotated[float, Field(ge=0.1, le=7 * 86_400)] = 3600.0
    """How often to look for what is too old."""


@dataclass(frozen=True, slots=True)
class Rule:
    """``statement``: removes at most $2 rows that are older than the interval $1, and returns how many it has removed."""

    what: str
    days: int
    statement: str
    batch: int = BATCH


class Pruner:
    """Applies the rules to one database, over a connection of its own."""

    def __init__(self, url: str, rules: Sequence[Rule], *, schema: str = "public", every_s: float) -> None:
        self._rules = [rule for rule in rules if rule.days]
        self._database = Database(url, schema=schema, max_size=1)
        self._every_s = every_s
        self.trouble: str | None = None
        """Why the last pass failed, if it was not an outage, which others report."""

    async def run(self, stopping: asyncio.Event) -> None:
        """One pass at once, then one every ``every_s`` seconds, until stopped."""
        try:
            while not stopping.is_set():
                await self._try_pass()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._every_s):
                        await stopping.wait()
        finally:
            await self._database.close()

    async def once(self) -> dict[str, int]:
        """One pass; what was removed, by rule. Raises the database's errors."""
        removed: dict[str, int] = {}
        for rule in self._rules:
            if count := await self._apply(rule):
                removed[rule.what] = count
                log.info("retention: %d %s older than %d days were removed", count, rule.what, rule.days)
        return removed

    async def close(self) -> None:
        await self._database.close()

    async def _try_pass(self) -> None:
        try:
            await self.once()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            if is_outage(error):
                log.warning("retention waits for the database: %s", reason(error))
            else:
                self.trouble = f"what is older than its retention is not removed: {reason(error)}"
        else:
            self.trouble = None

    async def _apply(self, rule: Rule) -> int:
        removed, count = 0, rule.batch
        while count >= rule.batch:
            began = time.monotonic()
            count = await self._batch(rule)
            removed += count
            if count:
                taken = time.monotonic() - began
                await asyncio.sleep(max(SHORTEST_PAUSE_S, taken * (1 - SHARE_OF_TIME) / SHARE_OF_TIME))
        return removed

    async def _batch(self, rule: Rule) -> int:
        pool = await self._database.pool()
        async with pool.acquire(timeout=10) as connection, connection.transaction():
            if not await connection.fetchval(TRY_LOCK):
                return 0
            count: int = await connection.fetchval(rule.statement, timedelta(days=rule.days), rule.batch)
            return count
