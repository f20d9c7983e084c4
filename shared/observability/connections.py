"""Gauges of connections: those to RabbitMQ, and pools of connections to PostgreSQL and Redis. Connections that are gone are left out."""

import re
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary, WeakSet

from shared.observability.metrics import CONNECTED, INBOX, POOL

_NUMBER: Final = re.compile(r"_\d+$")


class BrokerConnection(Protocol):
    @property
    def label(self) -> str:
        """What the connection is for, the same in every process of a deployable."""

    @property
    def is_open(self) -> bool: ...

    @property
    def waiting(self) -> int | None:
        """Messages delivered, and not taken yet; None: nothing is delivered over it."""


class RedisPool(Protocol):
    def get_connection_count(self) -> list[tuple[int, dict[Any, Any]]]:
        """Connections that are free, and those in use, each with what they are."""


_brokers: Final[WeakSet[BrokerConnection]] = WeakSet()
_pools: Final[dict[Any, str]] = {}
_redis_pools: Final[WeakKeyDictionary[RedisPool, str]] = WeakKeyDictionary()


def watch_broker(connection: BrokerConnection) -> None:
    _brokers.add(connection)


def watch_pool(pool: Any, schema: str) -> None:
    """``schema``: the beginning of its search_path; that of the write database is ``public``. Generations count together."""
    _forget_closed_pools()
    first = schema.partition(",")[0]
    _pools[pool] = "write" if first == "public" else _NUMBER.sub("", first)


def watch_redis_pool(pool: RedisPool, name: str) -> None:
    """``name``: the read model's."""
    _redis_pools[pool] = name


def sample() -> None:
    _forget_closed_pools()
    for connection in list(_brokers):
        CONNECTED.set(connection.is_open, connection.label)
        if connection.waiting is not None:
            INBOX.set(connection.waiting, connection.label)
    found: dict[tuple[str, ...], float] = {}
    for pool, name in _pools.items():
        idle = pool.get_idle_size()
        for state, count in (("idle", idle), ("in_use", pool.get_size() - idle)):
            found[name, state] = found.get((name, state), 0) + count
    for redis_pool, name in list(_redis_pools.items()):
        for state, (count, _) in zip(("idle", "in_use"), redis_pool.get_connection_count(), strict=True):
            found[name, state] = found.get((name, state), 0) + count
    POOL.replace(found)


def _forget_closed_pools() -> None:
    for pool in [pool for pool in _pools if pool.is_closing()]:
        del _pools[pool]
