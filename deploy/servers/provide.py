"""The servers that Tidemark runs on, found or started by ``provide``, in this order:

1. the URLs in the environment, if all six are set;
2. containers, if a Docker engine answers;
3. programs that are on this machine, as private instances;
4. the same, after installing what is missing with apt-get (without root: unpacked into a private folder).

``TIDEMARK_SERVERS`` = ``environment``, ``docker`` or ``private`` (3 and 4) forces one. Whatever ``provide`` starts is
gone when its block ends, or when the process ends, however it ends.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deploy.servers import containers, databases, packages, redis
from deploy.servers.errors import ServersError
from deploy.servers.private import PrivateServers, private_servers

__all__ = ["Servers", "ServersError", "from_environment", "provide"]

CHOICE: Final = "TIDEMARK_SERVERS"
URLS: Final = (
    "rabbitmq_url",
    "write_db_url",
    "summary_db_url",
    "search_db_url",
    "operations_db_url",
    "analytics_redis_url",
)
READERS: Final = {
    "summary_db_url": "summary_reader_url",
    "search_db_url": "search_reader_url",
    "operations_db_url": "operations_reader_url",
    "analytics_redis_url": "analytics_reader_url",
}


@dataclass(frozen=True, kw_only=True)
class Servers:
    """Where everything is. The reader URLs are the same stores for one who may only read; none for the write side."""

    rabbitmq_url: str = field(repr=False)
    write_db_url: str = field(repr=False)
    summary_db_url: str = field(repr=False)
    search_db_url: str = field(repr=False)
    operations_db_url: str = field(repr=False)
    analytics_redis_url: str = field(repr=False)
    summary_reader_url: str = field(repr=False)
    search_reader_url: str = field(repr=False)
    operations_reader_url: str = field(repr=False)
    analytics_reader_url: str = field(repr=False)
    origin: str
    """``environment``, ``docker`` or ``private``."""
    private: PrivateServers | None = field(default=None, repr=False, compare=False)
    """The instances themselves, where they are private ones: to be killed, frozen and started again by tests."""

    def environ(self) -> dict[str, str]:
        """The settings of one who may write: the six URLs of the public surface and the reader URLs beside them."""
        return {_variable(name): getattr(self, name) for name in (*URLS, *READERS.values())}

    def reader_environ(self) -> dict[str, str]:
        """The settings of the query service: RabbitMQ, and the read stores under their usual names, as a reader."""
        return {_variable("rabbitmq_url"): self.rabbitmq_url} | {
            _variable(name): getattr(self, reader) for name, reader in READERS.items()
        }


@contextmanager
def provide(root: Path | None = None, *, keep: bool = False) -> Iterator[Servers]:
    """Running servers for the time of the block; see the module for where they come from.

    ``root`` is a folder in which servers that we start keep their data for the next time (Docker: volumes named after
    it); without it they start empty and leave nothing, or with ``keep`` their temporary folder for inspection.
    Blocking: call it in a thread from asyncio. Raises ``ServersError`` with what to do.
    """
    choice = os.environ.get(CHOICE) or None
    if choice not in (None, "environment", "docker", "private"):
        raise ServersError(f"{CHOICE} must be environment, docker or private, not {choice!r}")
    if choice in (None, "environment"):
        found = from_environment(os.environ)
        if found:
            yield found
            return
        if choice == "environment":
            raise ServersError(f"{CHOICE}=environment needs " + ", ".join(_variable(name) for name in URLS))
    if choice == "docker" or (choice is None and containers.available()):
        with containers.running(root) as started:
            yield _located(started.rabbitmq_url, started.database_url, started.redis_url, origin="docker")
        return
    with _private(root, keep=keep) as servers:
        yield servers


def from_environment(environ: Mapping[str, str]) -> Servers | None:
    """The servers named by the environment, ``None`` if it names none; some but not all is an error, not a guess."""
    given = {name: environ[_variable(name)] for name in URLS if environ.get(_variable(name))}
    if not given:
        return None
    if missing := [_variable(name) for name in URLS if name not in given]:
        raise ServersError(f"set all six server URLs or none: {', '.join(missing)} missing from the environment")
    return Servers(
        rabbitmq_url=given["rabbitmq_url"],
        write_db_url=given["write_db_url"],
        summary_db_url=given["summary_db_url"],
        search_db_url=given["search_db_url"],
        operations_db_url=given["operations_db_url"],
        analytics_redis_url=given["analytics_redis_url"],
        summary_reader_url=environ.get("TIDEMARK_SUMMARY_READER_URL") or given["summary_db_url"],
        search_reader_url=environ.get("TIDEMARK_SEARCH_READER_URL") or given["search_db_url"],
        operations_reader_url=environ.get("TIDEMARK_OPERATIONS_READER_URL") or given["operations_db_url"],
        analytics_reader_url=environ.get("TIDEMARK_ANALYTICS_READER_URL") or given["analytics_redis_url"],
        origin="environment",
    )


@contextmanager
def _private(root: Path | None, *, keep: bool) -> Iterator[Servers]:
    if packages.missing():
        packages.install()
    with private_servers(root, keep=keep) as running:
        yield _located(
            running.rabbitmq.url(), running.postgres.url, running.redis.url, origin="private", private=running
        )


def _located(
    rabbitmq_url: str,
    database_url: Callable[[str, str], str],
    redis_url: Callable[[str], str],
    *,
    origin: str,
    private: PrivateServers | None = None,
) -> Servers:
    summary, search, operations = databases.READ
    return Servers(
        rabbitmq_url=rabbitmq_url,
        write_db_url=database_url(databases.WRITE, databases.OWNER),
        summary_db_url=database_url(summary, databases.OWNER),
        search_db_url=database_url(search, databases.OWNER),
        operations_db_url=database_url(operations, databases.OWNER),
        analytics_redis_url=redis_url(redis.OWNER),
        summary_reader_url=database_url(summary, databases.READER),
        search_reader_url=database_url(search, databases.READER),
        operations_reader_url=database_url(operations, databases.READER),
        analytics_reader_url=redis_url(redis.READER),
        origin=origin,
        private=private,
    )


def _variable(name: str) -> str:
    return "TIDEMARK_" + name.upper()
