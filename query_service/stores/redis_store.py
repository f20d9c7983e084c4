"""A read store in Redis: read-only commands, every one within the deadline.

Dropped keys cannot be distinguished from keys that never existed. So every read is followed by a read of the registry: as long as this
generation is the active one, none of its keys have been dropped.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Self, TypeVar

import hiredis
import redis.exceptions
from pydantic import BaseModel
from pydantic_core import from_json
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.typing import EncodableT

from query_service.consistency.as_of import AsOf
from query_service.http.problems import GenerationGoneError
from query_service.stores.active_generation import Pointer
from query_service.stores.port import DEADLINE_S, Hold, LaneProgress, Pause, ProjectionProgress, StreamPosition
from query_service.stores.single_flight_cache import SingleFlightCache
from shared.observability.connections import watch_redis_pool
from shared.runtime.connecting import redis_pool
from shared.views.analytics import Keys
from shared.views.generations import ACTIVE_FIELD, FIRST, Generation, generation_name, registry_key, stopped
from shared.views.progress import SEEN_SINCE

CONNECTIONS: Final = 8
HOLDS_AT_ONCE: Final = 1000
HELD_SINCE_CACHED_S: Final = 3.0
"""The time of the longest hold is cached this long, because computing it reads all holds."""
Command = tuple[str | int, ...]

T = TypeVar("T")


class _Hold(BaseModel):
    """The fields used here of a hold as the projector writes it."""

    status: str
    version: int
    reason: str
    seen: int = 0


class _Failed(BaseModel):
    first_failed_at: datetime


class _Entry(BaseModel):
    """The fields used here of a registry entry."""

    epoch: str | None = None
    moving_to: str | None = None
    ahead: int = 0
    examples: tuple[str, ...] = ()
    kinds: tuple[str, ...] | None = None


class _Connection(redis_pool.TcpConnection):
    """Packs commands in C, as the synchronous client does: a year by day requests 1,460 fields."""

    def pack_commands(self, commands: Iterable[Iterable[EncodableT]]) -> list[bytes]:
        return [hiredis.pack_command(tuple(command)) for command in commands]  # type: ignore[arg-type]


class RedisStore:
    """One generation of a projection. Raises StoreDownError when Redis does not answer, or refuses."""

    def __init__(self, projection: str, url: str, prefix: str | None = None, number: int = FIRST) -> None:
        """``prefix``: of the first generation's keys; default: the projection's name."""
        prefix = prefix or projection
        self.projection = projection
        self.number = number
        self.keys = Keys(generation_name(prefix, number))
        self._url = url
        self._prefix = prefix
        self._registry = registry_key(prefix)
        pool = redis_pool.pool_of(
            url,
            BlockingConnectionPool,
            connections={**redis_pool.CONNECTIONS, "redis": _Connection},
            max_connections=CONNECTIONS,
            timeout=DEADLINE_S,
            socket_timeout=DEADLINE_S,
            socket_connect_timeout=2.0,
            decode_responses=True,
            protocol=2,
            # One retry, for a connection that was lost while idle.
            retry=Retry(NoBackoff(), 1),
        )
        watch_redis_pool(pool, projection)
        self._redis: Redis = Redis(connection_pool=pool)
        self._pause = Pause(self.projection)
        self._as_of = AsOf(self._read_as_of)
        self._held_since = SingleFlightCache(self._read_held_since, HELD_SINCE_CACHED_S)

    async def headers(self) -> Mapping[str, str]:
        return await self._as_of.headers()

    def generation(self, number: int) -> Self:
        return type(self)(self.projection, self._url, self._prefix, number)

    async def pointer(self) -> Pointer:
        (registry,) = await self._replies(("HGETALL", self._registry))
        if ACTIVE_FIELD not in registry:
            return Pointer()
        number = int(registry[ACTIVE_FIELD])
        row = _Entry.model_validate_json(registry.get(str(number), "{}"))
        return Pointer(number, row.epoch, stopped(self.projection, row.moving_to, row.ahead, row.examples), row.kinds)

    async def generations(self) -> list[Generation]:
        """All generations of the projection, from the registry; empty: it is older than the registry, and there is only the first."""
        (registry,) = await self._replies(("HGETALL", self._registry))
        active = int(registry.pop(ACTIVE_FIELD, FIRST))
        found = [from_json(text) for number, text in registry.items() if number.isdecimal()]
        every = [Generation.model_validate(one | {"active": one["number"] == active}) for one in found]
        return sorted(every, key=lambda one: one.number)

    async def ask(self, *commands: Command) -> list[Any]:
        """The reply to each command, in one round trip; not atomic, Redis may serve other clients between two commands.

        Raises GenerationGoneError if this generation is no longer the active one.
        """
        *found, active = await self._replies(*commands, ("HGET", self._registry, ACTIVE_FIELD))
        if int(active or FIRST) != self.number:
            raise GenerationGoneError(self.projection, self.number)
        return found

    async def _replies(self, *commands: Command) -> list[Any]:
        async def replies() -> list[Any]:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command)
                found: list[Any] = await pipeline.execute()
                return found

        return await self._within_deadline(replies)

    async def positions(self, streams: Sequence[str]) -> Mapping[str, StreamPosition]:
        if not streams:
            return {}
        applied, held = await self.ask(("HMGET", self.keys.positions, *streams), ("HMGET", self.keys.held, *streams))
        found = zip(streams, applied, held, strict=True)
        return {stream: _position(int(version or 0), hold) for stream, version, hold in found}

    async def progress(self) -> ProjectionProgress:
        progress, held = await self._replies(("HGETALL", self.keys.progress), ("HLEN", self.keys.held))
        return ProjectionProgress(
            as_of=oldest(progress),
            events_applied=sum(int(value) for name, value in progress.items() if name.endswith(":events_applied")),
            held=held,
            held_since=await self._held_since.get() if held else None,
        )

    async def lanes(self) -> list[LaneProgress]:
        """By lane: those of which anything has arrived."""
        (progress,) = await self._replies(("HGETALL", self.keys.progress))
        found = sorted({int(name.partition(":")[0]) for name in progress})
        return [
            LaneProgress(
                lane,
                _seen(progress, lane),
                int(progress.get(f"{lane}:events_applied", 0)),
            )
            for lane in found
        ]

    async def ping(self) -> None:
        await self._replies(("HLEN", self.keys.progress))

    async def close(self) -> None:
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()

    async def _read_held_since(self) -> datetime | None:
        """Reads the holds in steps, because there may be many, and Redis serves other clients in between."""
        times: list[datetime] = []
        cursor = 0
        while True:
            ((cursor, found),) = await self._replies(("HSCAN", self.keys.held, cursor, "COUNT", HOLDS_AT_ONCE))
            times += [_Failed.model_validate_json(text).first_failed_at for text in found.values()]
            cursor = int(cursor)
            if not cursor:
                return min(times, default=None)

    async def _read_as_of(self) -> datetime | None:
        (progress,) = await self.ask(("HGETALL", self.keys.progress))
        return oldest(progress)

    async def _within_deadline(self, operation: Callable[[], Awaitable[T]]) -> T:
        self._pause.check()
        try:
            async with asyncio.timeout(DEADLINE_S):
                return await operation()
        except (TimeoutError, redis.exceptions.TimeoutError) as error:
            raise self._pause.failed("it did not answer in time", error) from error
        except redis.exceptions.BusyLoadingError as error:
            raise self._pause.failed("it is loading its data", error) from error
        except (redis.exceptions.AuthenticationError, redis.exceptions.NoPermissionError) as error:
            raise self._pause.failed("it refuses our credentials", error) from error
        except (redis.exceptions.ConnectionError, OSError) as error:
            raise self._pause.failed("it cannot be reached", error) from error


def _position(applied: int, text: str | None) -> StreamPosition:
    """The position of a stream. A hold at or below the applied version is obsolete and ignored."""
    hold = _Hold.model_validate_json(text) if text else None
    if hold is None or hold.version <= applied:
        return StreamPosition(applied)
    return StreamPosition(applied, Hold(hold.status, hold.version, hold.reason, hold.seen))


def oldest(progress: Mapping[str, str]) -> datetime | None:
    """The oldest ``as_of`` of all lanes; None while a lane that has events has had no heartbeat."""
    times = [_seen(progress, int(lane)) for lane in {name.partition(":")[0] for name in progress}]
    known = [time for time in times if time is not None]
    return min(known, default=None) if len(known) == len(times) else None


def _seen(progress: Mapping[str, str], lane: int) -> datetime | None:
    time = progress.get(f"{lane}:as_of")
    found = datetime.fromisoformat(time) if time else None
    return found if found is not None and found >= SEEN_SINCE else None
