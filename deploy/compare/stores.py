"""Reads a projection's store for operators: its generations, the progress of each, and the differences between two of them.

One read-only connection for one command. Raises StoreUnavailableError, with the reason in one line.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final, Protocol

import asyncpg
from pydantic import BaseModel
from pydantic_core import from_json
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from deploy.compare.comparison import Findings
from deploy.compare.postgres_comparison import PostgresComparison
from deploy.compare.redis_comparison import RedisComparison
from deploy.errors import ServerUnavailableError
from projectors.generations.registry import DEFAULT_GENERATION
from projectors.stores.tables import Table, tables_of
from query_service.stores.redis_store import oldest
from shared.contracts.registry import KINDS
from shared.read_models import ReadModel, StoreKind, named
from shared.runtime.postgres import CONNECT_TIMEOUT_S, is_outage
from shared.runtime.reasons import reason
from shared.runtime.settings import Settings
from shared.views.analytics import Keys
from shared.views.generations import (
    ACTIVE_FIELD,
    FIRST,
    GENERATIONS,
    Generation,
    generation_name,
    registry_key,
    registry_schema,
)

TIMEOUT_S: Final = 30.0
SET_SEARCH_PATH: Final = "SELECT set_config('search_path', quote_ident($1) || ', public', true)"
PROGRESS: Final = """
SELECT
    (SELECT CASE WHEN count(*) = count(*) FILTER (WHERE as_of >= '1971-01-01Z') THEN min(as_of) END FROM progress) AS as_of,
    (SELECT count(*) FROM positions) AS streams,
    (SELECT count(*) FROM held) AS held
"""

_UNDEFINED: Final = (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError)


class StoreUnavailableError(ServerUnavailableError):
    """The projection's store does not answer now."""


class GenerationGoneError(Exception):
    """The generation does not exist, or no longer exists."""


class GenerationProgress(BaseModel):
    """A generation's progress. ``as_of``: everything committed before is applied or held; None if unknown."""

    as_of: datetime | None = None
    streams: int = 0
    held: int = 0


class GenerationStore(Protocol):
    async def generations(self) -> list[Generation]:
        """All generations, ordered by number; one of them is active."""

    async def progress(self, number: int) -> GenerationProgress | None:
        """None if the generation has no data."""

    async def compare(self, number: int, against: int, sample: int, kinds: Sequence[str] = KINDS) -> Findings:
        """``kinds``: the kinds of stream whose positions are compared. Raises GenerationGoneError if one of the two does not exist."""


class PostgresReadStore:
    def __init__(self, projection: str, connection: asyncpg.Connection, tables: Sequence[Table[Any]]) -> None:
        self._projection = projection
        self._connection = connection
        self._tables = tables

    async def generations(self) -> list[Generation]:
        rows = await self._fetch(registry_schema(self._projection), GENERATIONS)
        return [Generation(**row) for row in rows or ()] or [DEFAULT_GENERATION]

    async def progress(self, number: int) -> GenerationProgress | None:
        rows = await self._fetch(generation_name(self._projection, number), PROGRESS)
        return None if rows is None else GenerationProgress(**rows[0])

    async def compare(self, number: int, against: int, sample: int, kinds: Sequence[str] = KINDS) -> Findings:
        here, there = generation_name(self._projection, number), generation_name(self._projection, against)
        try:
            return await PostgresComparison(self._connection, self._tables, here, there, sample).run(kinds)
        except _UNDEFINED as error:
            raise GenerationGoneError(str(error)) from error

    async def _fetch(self, schema: str, statement: str) -> list[asyncpg.Record] | None:
        try:
            async with asyncio.timeout(TIMEOUT_S), self._connection.transaction(readonly=True):
                await self._connection.execute(SET_SEARCH_PATH, schema)
                rows: list[asyncpg.Record] = await self._connection.fetch(statement)
                return rows
        except _UNDEFINED:
            return None


class RedisReadStore:
    def __init__(self, projection: str, redis: Redis) -> None:
        self._projection = projection
        self._redis = redis

    async def generations(self) -> list[Generation]:
        found: dict[str, str] = await self._redis.hgetall(registry_key(self._projection))  # type: ignore[assignment]
        active = int(found.pop(ACTIVE_FIELD, FIRST))
        read = [_generation(document, active) for number, document in found.items() if number.isdecimal()]
        return sorted(read, key=lambda one: one.number) or [DEFAULT_GENERATION]

    async def progress(self, number: int) -> GenerationProgress | None:
        keys = Keys(generation_name(self._projection, number))
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hgetall(keys.progress)
            pipeline.hlen(keys.positions)
            pipeline.hlen(keys.held)
            progress, streams, held = await pipeline.execute()
        return GenerationProgress(as_of=oldest(progress), streams=streams, held=held)

    async def compare(self, number: int, against: int, sample: int, kinds: Sequence[str] = KINDS) -> Findings:
        here, there = generation_name(self._projection, number), generation_name(self._projection, against)
        return await RedisComparison(self._redis, here, there, sample).run(kinds)


def _generation(document: str, active: int) -> Generation:
    known = from_json(document)
    return Generation.model_validate(known | {"active": known["number"] == active})


@asynccontextmanager
async def open_store(settings: Settings, projection: str) -> AsyncIterator[GenerationStore]:
    """Raises UnknownReadModelError, MissingSettingError, StoreUnavailableError."""
    model, url = named(projection), settings.store_url(projection)
    if model.store is StoreKind.REDIS:
        async with _redis(url, model) as redis:
            yield RedisReadStore(projection, redis)
    else:
        async with _postgres(url, model) as connection:
            yield PostgresReadStore(projection, connection, tables_of(projection))


@asynccontextmanager
async def _postgres(url: str, model: ReadModel) -> AsyncIterator[asyncpg.Connection]:
    session = {
        "timezone": "UTC",
        "application_name": "tidemark cli",
        "default_transaction_read_only": "on",
        "plan_cache_mode": "force_custom_plan",
        "work_mem": "64MB",
        "jit": "off",
    }
    try:
        connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S, server_settings=session)
    except ValueError as error:
        raise StoreUnavailableError(f"{model.variable} is no address of a database: {error}") from error
    except Exception as error:
        raise _unavailable(error) from error
    try:
        yield connection
    except Exception as error:
        raise _unavailable(error) from error
    finally:
        connection.terminate()


def _unavailable(error: Exception) -> StoreUnavailableError:
    if not is_outage(error):
        raise error
    return StoreUnavailableError(f"PostgreSQL: {str(error) or 'no answer in time'}")


@asynccontextmanager
async def _redis(url: str, model: ReadModel) -> AsyncIterator[Redis]:
    try:
        redis: Any = Redis.from_url(
            url,
            decode_responses=True,
            protocol=2,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            socket_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 1),
        )
    except ValueError as error:
        raise StoreUnavailableError(f"{model.variable} is no address of a Redis: {error}") from error
    try:
        yield redis
    except RedisError as error:
        raise StoreUnavailableError(f"Redis: {reason(error)}") from error
    finally:
        await redis.aclose()
