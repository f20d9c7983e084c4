"""Pools of connections to Redis: each connection is made by the URL as its setting has it now, with certificates that are read again.

A user of Redis may have two passwords at once: ``ACL SETUSER name >new``, then the file, then ``ACL SETUSER name <old``. Only the login is
taken from the new URL: another host, or another name of a certificate's file, needs a restart.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from redis.asyncio import ConnectionPool
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.exceptions import AuthenticationError

from shared.runtime.connecting.current_url import connected

P = TypeVar("P", bound=ConnectionPool)


class ByCurrentUrl(AbstractConnection):
    """A connection that reads its login, and its certificates, before each time that it connects."""

    def __init__(self, *, url: str, **options: Any) -> None:
        super().__init__(**options)
        self._url = url

    async def connect_check_health(self, check_health: bool = True, retry_socket_connect: bool = True) -> None:
        connect = super().connect_check_health

        async def by(url: str) -> None:
            login = parse_url(url)
            self.username, self.password = login.get("username"), login.get("password")
            if isinstance(self, SSLConnection):
                self.ssl_context.context = None  # it is made once, and would keep the certificates of then
            await connect(check_health, retry_socket_connect)

        if not self.is_connected:
            await connected(self._url, by, lambda error: isinstance(error, AuthenticationError))


class TcpConnection(ByCurrentUrl, Connection):
    pass


class TlsConnection(ByCurrentUrl, SSLConnection):
    pass


class SocketConnection(ByCurrentUrl, UnixDomainSocketConnection):
    pass


CONNECTIONS: Final[Mapping[str, type[ByCurrentUrl]]] = {
    "redis": TcpConnection,
    "rediss": TlsConnection,
    "unix": SocketConnection,
}
"""By the URL's scheme."""


def pool_of(
    url: str, pool: type[P], *, connections: Mapping[str, type[ByCurrentUrl]] = CONNECTIONS, **options: Any
) -> P:
    """A pool of this class; ``options`` of it and of its connections, as of ``ConnectionPool.from_url``."""
    given: dict[str, Any] = {**parse_url(url)}
    given["connection_class"] = connections[urlsplit(url).scheme]
    return pool(url=url, **options, **given)
