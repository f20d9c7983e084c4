"""Connections to Redis, and which of its errors are outages."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import DataError, RedisError

from projectors.stores.port import StoreUnavailableError
from shared.observability.connections import watch_redis_pool
from shared.runtime.connecting.redis_pool import pool_of
from shared.runtime.reasons import reason

CONNECT_TIMEOUT_S: Final = 5.0
COMMAND_TIMEOUT_S: Final = 30.0


def client(url: str) -> Redis:
    """A client without retries: if the reply to a write is lost, the caller determines whether it was made."""
    pool = pool_of(
        url,
        ConnectionPool,
        decode_responses=True,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=COMMAND_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
    watch_redis_pool(pool, "analytics")
    return Redis.from_pool(pool)


@contextmanager
def raising_unavailable() -> Iterator[None]:
    """Raises StoreUnavailableError for every error of Redis except DataError: in such a state (out of memory, read-only, loading, no
    permission, unreachable) it would refuse any event."""
    try:
        yield
    except DataError:
        raise
    except (RedisError, OSError, TimeoutError) as error:
        raise StoreUnavailableError(reason(error)) from error
