"""The accounts of deployables whose URLs are in files: a login at one server, which may stand in several of them."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from deploy.servers.accounts.urls import ACCOUNTS, own_setting
from shared.runtime.setting_values import FILE, SettingError, from_file, variable


class Server(StrEnum):
    POSTGRESQL = "postgresql"
    RABBITMQ = "rabbitmq"
    REDIS = "redis"


SERVERS: Final[Mapping[str, Server]] = {
    "postgresql": Server.POSTGRESQL,
    "postgres": Server.POSTGRESQL,
    "amqp": Server.RABBITMQ,
    "amqps": Server.RABBITMQ,
    "redis": Server.REDIS,
    "rediss": Server.REDIS,
    "unix": Server.REDIS,
}
"""By the URL's scheme."""


@dataclass
class Account:
    """``setting``: one of those with its URL; ``urls``: file → the URL in it. All of them have the same user and password."""

    deployable: str
    server: Server
    user: str
    address: str
    setting: str
    urls: dict[Path, str] = field(repr=False, compare=False)

    @property
    def url(self) -> str:
        return next(iter(self.urls.values()))

    @property
    def password(self) -> str:
        return unquote(urlsplit(self.url).password or "")

    def with_password(self, password: str) -> dict[Path, str]:
        return {file: _with_password(url, password) for file, url in self.urls.items()}


def accounts(
    names: Collection[str] | None = None, server: Server | None = None, environ: Mapping[str, str] = os.environ
) -> list[Account]:
    """Those of these deployables, by default of all, at this kind of server, by default at all. Raises SettingError.

    An account counts whose URL is in the file that ``TIDEMARK_<DEPLOYABLE>_<SETTING>_FILE`` names.
    """
    found: dict[tuple[str, Server, str, str], Account] = {}
    for deployable, settings in ACCOUNTS.items():
        for setting in settings if names is None or deployable in names else ():
            own = own_setting(deployable, setting)
            url, path = from_file(own, environ), environ.get(variable(own) + FILE, "")
            if url is None:
                continue
            parts = urlsplit(url)
            kind = SERVERS.get(parts.scheme)
            if kind is None or not parts.username or not parts.password:
                raise SettingError(f"{variable(own)}{FILE}: {path} has no URL with a user and a password")
            if server is not None and kind is not server:
                continue
            user, address = unquote(parts.username), parts.netloc.rpartition("@")[2] or parts.path
            account = found.setdefault(
                (deployable, kind, user, address), Account(deployable, kind, user, address, setting, {})
            )
            account.urls[Path(path)] = url
    return list(found.values())


def _with_password(url: str, password: str) -> str:
    parts = urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{login.partition(':')[0]}:{quote(password, safe='')}@{host}").geturl()
