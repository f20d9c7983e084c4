"""Finds or starts the servers that Tidemark runs on, in this order:

1. the URLs in the environment, if all are set;
2. containers, if a Docker engine answers;
3. programs that are installed on this machine, as private instances;
4. the same, after installing missing programs with apt-get (without root: unpacked into a private folder).

``TIDEMARK_SERVERS`` = ``environment``, ``docker`` or ``private`` (3 and 4) forces one. Servers that ``provide`` starts
end with its block, or with the process, however it ends.
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
from shared.read_models import IN_POSTGRES, READ_MODELS, StoreKind

__all__ = ["Servers", "ServersError", "from_environment", "provide"]

CHOICE: Final = "TIDEMARK_SERVERS"
REQUIRED: Final = ("rabbitmq_url", "write_db_url", "operations_db_url")
PROCESSES: Final = "processes_db_url"
SHARED_READ_DB: Final = "read_db_url"
"""The default for every read model in PostgreSQL that has no URL of its own, and for the process managers."""
STORE_SETTINGS: Final = tuple(model.setting for model in READ_MODELS)


@dataclass(frozen=True, kw_only=True)
class Servers:
    """The URLs of all servers. Reader URLs address the same stores with read-only users; the write database has none."""

    rabbitmq_url: str = field(repr=False)
    write_db_url: str = field(repr=False)
    operations_db_url: str = field(repr=False)
    operations_reader_url: str = field(repr=False)
    processes_db_url: str = field(repr=False)
    processes_reader_url: str = field(repr=False)
    stores: Mapping[str, str] = field(repr=False)
    """The URL of each read model's store."""
    reader_stores: Mapping[str, str] = field(repr=False)
    origin: str
    """``environment``, ``docker`` or ``private``."""
    private: PrivateServers | None = field(default=None, repr=False, compare=False)
    """The instances, if they are private: tests kill, freeze and restart them."""

    def environ(self) -> dict[str, str]:
        """The settings with write access, and the reader URLs."""
        urls = {
            name: getattr(self, name)
            for name in (*REQUIRED, "operations_reader_url", PROCESSES, "processes_reader_url")
        }
        for model in READ_MODELS:
            urls |= {model.setting: self.stores[model.name], f"{model.name}_reader_url": self.reader_stores[model.name]}
        return {_variable(name): url for name, url in urls.items()}

    def reader_environ(self) -> dict[str, str]:
        """The settings of the query service: RabbitMQ, and the read stores with reader URLs under their usual names."""
        urls = {"rabbitmq_url": self.rabbitmq_url, "operations_db_url": self.operations_reader_url}
        urls[PROCESSES] = self.processes_reader_url
        urls |= {model.setting: self.reader_stores[model.name] for model in READ_MODELS}
        return {_variable(name): url for name, url in urls.items()}


@contextmanager
def provide(root: Path | None = None, *, keep: bool = False) -> Iterator[Servers]:
    """Servers that run until the end of the block; the module's docstring gives their order.

    ``root`` is a folder in which started servers keep their data for the next time (Docker: volumes named after
    it); without it they start empty and leave nothing, or with ``keep`` their temporary folder for inspection.
    It blocks: call it in a thread from asyncio. Raises ``ServersError`` with what to do.
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
            raise ServersError(
                f"{CHOICE}=environment needs {', '.join(map(_variable, (*REQUIRED, PROCESSES, *STORE_SETTINGS)))}"
            )
    if choice == "docker" or (choice is None and containers.available()):
        with containers.running(root) as started:
            yield _servers(
                started.rabbitmq_url,
                started.database_url,
                started.redis_url,
                read_databases=started.read_databases,
                origin="docker",
            )
        return
    with _private(root, keep=keep) as servers:
        yield servers


def from_environment(environ: Mapping[str, str]) -> Servers | None:
    """The servers whose URLs the environment contains, ``None`` if it contains none. Raises ``ServersError`` if it contains only some."""
    given = {
        name: url
        for name in (*REQUIRED, PROCESSES, SHARED_READ_DB, *STORE_SETTINGS)
        if (url := environ.get(_variable(name)))
    }
    if not given:
        return None
    if SHARED_READ_DB in given:
        for model in IN_POSTGRES:
            given.setdefault(model.setting, given[SHARED_READ_DB])
        given.setdefault(PROCESSES, given[SHARED_READ_DB])
    if missing := [_variable(name) for name in (*REQUIRED, PROCESSES, *STORE_SETTINGS) if name not in given]:
        raise ServersError(f"set all server URLs or none: {', '.join(missing)} missing from the environment")
    stores = {model.name: given[model.setting] for model in READ_MODELS}
    return Servers(
        rabbitmq_url=given["rabbitmq_url"],
        write_db_url=given["write_db_url"],
        operations_db_url=given["operations_db_url"],
        operations_reader_url=environ.get("TIDEMARK_OPERATIONS_READER_URL") or given["operations_db_url"],
        processes_db_url=given[PROCESSES],
        processes_reader_url=environ.get("TIDEMARK_PROCESSES_READER_URL") or given[PROCESSES],
        stores=stores,
        reader_stores={name: environ.get(_variable(f"{name}_reader_url")) or url for name, url in stores.items()},
        origin="environment",
    )


@contextmanager
def _private(root: Path | None, *, keep: bool) -> Iterator[Servers]:
    if packages.missing():
        packages.install()
    with private_servers(root, keep=keep) as running:
        yield _servers(
            running.rabbitmq.url(),
            running.postgres.url,
            running.redis.url,
            read_databases=running.postgres.read_databases,
            origin="private",
            private=running,
        )


def _servers(
    rabbitmq_url: str,
    database_url: Callable[[str, str], str],
    redis_url: Callable[[str], str],
    *,
    read_databases: Mapping[str, str],
    origin: str,
    private: PrivateServers | None = None,
) -> Servers:
    def stores(database_role: str, redis_user: str) -> dict[str, str]:
        return {
            model.name: database_url(read_databases[model.name], database_role)
            if model.store is StoreKind.POSTGRES
            else redis_url(redis_user)
            for model in READ_MODELS
        }

    return Servers(
        rabbitmq_url=rabbitmq_url,
        write_db_url=database_url(databases.WRITE, databases.OWNER),
        operations_db_url=database_url(databases.OPERATIONS, databases.OWNER),
        operations_reader_url=database_url(databases.OPERATIONS, databases.READER),
        processes_db_url=database_url(databases.PROCESSES, databases.OWNER),
        processes_reader_url=database_url(databases.PROCESSES, databases.READER),
        stores=stores(databases.OWNER, redis.OWNER),
        reader_stores=stores(databases.READER, redis.READER),
        origin=origin,
        private=private,
    )


def _variable(name: str) -> str:
    return "TIDEMARK_" + name.upper()
