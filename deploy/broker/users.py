"""The users of our own deployables on the broker: made with the private servers, and by every ``tidemark migrate``."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

from deploy.broker.management import Management
from shared.messaging.access import ACCESS, user_of
from shared.messaging.permissions import Permissions, permissions

USERS: Final[Mapping[str, Permissions]] = {user_of(name): permissions(access) for name, access in ACCESS.items()}
"""The deployables' users."""


async def put_users(management: Management, passwords: Mapping[str, str]) -> list[str]:
    """Give each deployable's user exactly its permissions, and its password where one is given.

    Returns the users that do not exist, and have no password to be made with.
    """
    known = await management.users() if USERS.keys() - passwords.keys() else frozenset()
    there = {name: each for name, each in USERS.items() if name in passwords or name in known}
    await management.put(there, {name: password for name, password in passwords.items() if name in USERS})
    return [name for name in USERS if name not in there]


def passwords_in(urls: Mapping[str, str]) -> dict[str, str]:
    """User → password, from the AMQP URLs of deployables, where these name the deployable's own user."""
    found = {}
    for deployable, url in urls.items():
        parts = urlsplit(url)
        if parts.username == user_of(deployable) and parts.password:
            found[user_of(deployable)] = unquote(parts.password)
    return found


def vhost_of(amqp_url: str) -> str:
    """The virtual host: the URL's path without its slash, percent-decoded; the default one for an empty path, as clients read it."""
    return unquote(urlsplit(amqp_url).path.removeprefix("/")) or "/"
