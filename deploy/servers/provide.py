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

from deploy.servers import containers, packages, rabbitmq
from deploy.servers.accounts import databases, redis_users
from deploy.servers.accounts.urls import ACCOUNTS, QUERY, RABBITMQ, own_setting
from deploy.servers.errors import ServersError
from deploy.servers.private import PrivateServers, private_servers
from shared.messaging.access import user_of
from shared.read_models import IN_POSTGRES, READ_MODELS
from shared.runtime.roles import OWNER, role_of
from shared.runtime.setting_values import SettingError, value, variable

__all__ = ["Servers", "ServersError", "from_environment", "provide"]

CHOICE: Final = "TIDEMARK_SERVERS"
REQUIRED: Final = ("rabbitmq_url", "write_db_url", "operations_db_url", "keys_db_url")
PROCESSES: Final = "processes_db_url"
MANAGEMENT: Final = "rabbitmq_management_url"
SHARED_READ_DB: Final = "read_db_url"
"""The default for every read model in PostgreSQL that has no URL of its own, and for the process managers."""
STORE_SETTINGS: Final = tuple(model.setting for model in READ_MODELS)


@dataclass(frozen=True, kw_only=True)
class Servers:
    """The URLs of all servers: the owner's, for migrations and operators, and each deployable's own."""

    rabbitmq_url: str = field(repr=False)
    write_db_url: str = field(repr=False)
    operations_db_url: str = field(repr=False)
    processes_db_url: str = field(repr=False)
    keys_db_url: str = field(repr=False)
    rabbitmq_management_url: str = field(default="", repr=False)
    """The administrator's, of RabbitMQ's management API; empty: there is none, and users are not managed."""
    stores: Mapping[str, str] = field(repr=False)
    """The URL of each read model's store."""
    own: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    """Deployable → setting → the URL with its own account. Where one is missing, the owner's is the deployable's."""
    origin: str
    """``environment``, ``docker`` or ``private``."""
    private: PrivateServers | None = field(default=None, repr=False, compare=False)
    """The instances, if they are private: tests kill, freeze and restart them."""

    def url(self, deployable: str, setting: str) -> str:
        """The URL with which this deployable uses the server of this setting (``write_db_url``)."""
        return self.own.get(deployable, {}).get(setting) or self._owner_urls()[setting]

    def environ_of(self, deployable: str) -> dict[str, str]:
        """The deployable's settings: the URLs of the servers that it uses, with its own accounts."""
        return {variable(setting): self.url(deployable, setting) for setting in ACCOUNTS[deployable]}

    def environ(self) -> dict[str, str]:
        """The owner's settings, and, by ``own_setting``, those of every deployable: ``from_environment`` finds the same servers in them."""
        urls = self._owner_urls()
        if self.rabbitmq_management_url:
            urls[MANAGEMENT] = self.rabbitmq_management_url
        for deployable, settings in ACCOUNTS.items():
            urls |= {own_setting(deployable, setting): self.url(deployable, setting) for setting in settings}
        return {variable(name): url for name, url in urls.items()}

    @property
    def reader_stores(self) -> Mapping[str, str]:
        """The URL of each read model's store for the query service."""
        return {model.name: self.url(QUERY, model.setting) for model in READ_MODELS}

    @property
    def operations_reader_url(self) -> str:
        """The operations database for the query service."""
        return self.url(QUERY, "operations_db_url")

    def _owner_urls(self) -> dict[str, str]:
        urls = {name: str(getattr(self, name)) for name in (*REQUIRED, PROCESSES)}
        return urls | {model.setting: self.stores[model.name] for model in READ_MODELS}


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
                f"{CHOICE}=environment needs {', '.join(map(variable, (*REQUIRED, PROCESSES, *STORE_SETTINGS)))}"
            )
    if choice == "docker" or (choice is None and containers.available()):
        with containers.running(root) as started:
            yield _servers(
                started.rabbitmq_url,
                started.management_url,
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
    try:
        return _from_environment(environ)
    except SettingError as error:
        raise ServersError(str(error)) from error


def _from_environment(environ: Mapping[str, str]) -> Servers | None:
    given = {
        name: url for name in (*REQUIRED, PROCESSES, SHARED_READ_DB, *STORE_SETTINGS) if (url := value(name, environ))
    }
    if not given:
        return None
    if SHARED_READ_DB in given:
        for model in IN_POSTGRES:
            given.setdefault(model.setting, given[SHARED_READ_DB])
        given.setdefault(PROCESSES, given[SHARED_READ_DB])
    if missing := [variable(name) for name in (*REQUIRED, PROCESSES, *STORE_SETTINGS) if name not in given]:
        raise ServersError(f"set all server URLs or none: {', '.join(missing)} missing from the environment")
    return Servers(
        rabbitmq_url=given["rabbitmq_url"],
        write_db_url=given["write_db_url"],
        operations_db_url=given["operations_db_url"],
        processes_db_url=given[PROCESSES],
        keys_db_url=given["keys_db_url"],
        rabbitmq_management_url=value(MANAGEMENT, environ),
        stores={model.name: given[model.setting] for model in READ_MODELS},
        own={
            deployable: {
                setting: url for setting in settings if (url := value(own_setting(deployable, setting), environ))
            }
            for deployable, settings in ACCOUNTS.items()
        },
        origin="environment",
    )


@contextmanager
def _private(root: Path | None, *, keep: bool) -> Iterator[Servers]:
    if packages.missing():
        packages.install()
    with private_servers(root, keep=keep) as running:
        yield _servers(
            running.rabbitmq.url,
            running.rabbitmq.management_url(),
            running.postgres.url,
            running.redis.url,
            read_databases=running.postgres.read_databases,
            origin="private",
            private=running,
        )


def _servers(
    rabbitmq_url: Callable[[str], str],
    management_url: str,
    database_url: Callable[[str, str], str],
    redis_url: Callable[[str], str],
    *,
    read_databases: Mapping[str, str],
    origin: str,
    private: PrivateServers | None = None,
) -> Servers:
    names = {
        "write_db_url": databases.WRITE,
        "operations_db_url": databases.OPERATIONS,
        PROCESSES: databases.PROCESSES,
        "keys_db_url": databases.KEYS,
        **{model.setting: read_databases[model.name] for model in IN_POSTGRES},
    }

    def url(setting: str, role: str, redis_user: str) -> str:
        return database_url(names[setting], role) if setting in names else redis_url(redis_user)

    def own(deployable: str, setting: str) -> str:
        if setting == RABBITMQ:
            return rabbitmq_url(user_of(deployable))
        return url(setting, role_of(deployable), redis_users.user_of(deployable))

    def owners(setting: str) -> str:
        return url(setting, OWNER, redis_users.OWNER)

    return Servers(
        rabbitmq_url=rabbitmq_url(rabbitmq.USER),
        rabbitmq_management_url=management_url,
        write_db_url=owners("write_db_url"),
        operations_db_url=owners("operations_db_url"),
        processes_db_url=owners(PROCESSES),
        keys_db_url=owners("keys_db_url"),
        stores={model.name: owners(model.setting) for model in READ_MODELS},
        own={name: {setting: own(name, setting) for setting in settings} for name, settings in ACCOUNTS.items()},
        origin=origin,
        private=private,
    )
