"""Services that send commands over the bus: a row in the write database, which the worker reads, and a user of the broker, for each.

The row says which commands are decided, the user's permissions which are taken; both come from the same types. Without the row, or without
the user, nothing of the service is decided, so an interrupted change leaves nobody with more than before. Every change is in the audit.
"""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import asyncpg

from deploy.broker.management import Management, ManagementError
from deploy.broker.users import vhost_of
from deploy.cli.write_database import write_database
from deploy.keys.store import operations_database
from projectors.dead_letters.actions.audit import record
from shared.messaging.access import ADMINISTRATOR, sender
from shared.messaging.broker import user_in
from shared.messaging.permissions import permissions
from shared.runtime.settings import Settings

PASSWORD_BYTES: Final = 24
OWN_PARAMETERS: Final = ("certfile", "keyfile")
"""Parameters of the administrator's URL that are not for others."""

INSERT: Final = """
INSERT INTO senders (name, may, source, created_by) VALUES ($1, $2, $1, $3) ON CONFLICT DO NOTHING RETURNING name
"""
DELETE: Final = "DELETE FROM senders WHERE name = $1 AND source IS NOT NULL RETURNING name"
TOUCH: Final = "UPDATE senders SET changed_at = now() WHERE name = $1 AND source IS NOT NULL RETURNING may"
LIST: Final = """
SELECT name, may, created_by, created_at, changed_at FROM senders WHERE source IS NOT NULL ORDER BY name
"""
PUT_OPERATOR: Final = """
INSERT INTO senders (name, may, source, created_by) VALUES ($1, '{*}', NULL, 'tidemark migrate') ON CONFLICT DO NOTHING
"""


async def put_operator(settings: Settings) -> None:
    """Where the administrator's user has a name of its own, the worker has to know that operators send commands as that user."""
    user = user_in(settings.require("rabbitmq_url"))
    if user != ADMINISTRATOR:
        async with write_database(settings) as write:
            await write.execute(PUT_OPERATOR, user)


class ServicesError(Exception):
    """The service is not as it would have to be; the message says what is."""


@dataclass(frozen=True, slots=True)
class Service:
    """``url``: with its password, which is nowhere else."""

    name: str
    may: Sequence[str]
    url: str = field(repr=False)


def management_of(settings: Settings) -> Management:
    """Raises MissingSettingError."""
    url = settings.require("rabbitmq_management_url")
    return Management(url, vhost_of(settings.require("rabbitmq_url")))


async def create(settings: Settings, name: str, may: Sequence[str], *, actor: str, reason: str) -> Service:
    """Raises ServicesError where there is such a service, or another user of this name; ManagementError, and the servers' errors."""
    management, password = management_of(settings), secrets.token_urlsafe(PASSWORD_BYTES)
    async with write_database(settings) as write, operations_database(settings) as operations, write.transaction():
        if await write.fetchval(INSERT, name, list(may), actor) is None:
            raise ServicesError(f"there is a service {name} already: revoke it first, or rotate its password")
        if name in await management.users():
            raise ServicesError(f"the broker has a user {name}, which is no service of Tidemark")
        await management.put({name: permissions(sender(name, may))}, {name: password})
        try:
            await _record(operations, actor, "service-created", reason, name, may)
        except BaseException:
            await management.delete(name)
            raise
    return Service(name, may, _url(settings, name, password))


async def rotate(settings: Settings, name: str, *, actor: str, reason: str) -> Service:
    """A new password; connections of the service go on, and it needs the new one for its next. Raises like ``create``."""
    management, password = management_of(settings), secrets.token_urlsafe(PASSWORD_BYTES)
    async with write_database(settings) as write, operations_database(settings) as operations, write.transaction():
        may = await write.fetchval(TOUCH, name)
        if may is None:
            raise _unknown(name)
        # The permissions, too: this version's may differ from those that it was created with.
        await management.put({name: permissions(sender(name, may))}, {name: password})
        await _record(operations, actor, "service-rotated", reason, name, may)
    return Service(name, may, _url(settings, name, password))


async def revoke(settings: Settings, name: str, *, actor: str, reason: str) -> None:
    """Its connections are closed, and its commands are no longer decided. Raises like ``create``."""
    management = management_of(settings)
    async with write_database(settings) as write, operations_database(settings) as operations, write.transaction():
        if await write.fetchval(DELETE, name) is None:
            raise _unknown(name)
        await management.delete(name)
        await _record(operations, actor, "service-revoked", reason, name, ())


async def listed(settings: Settings) -> list[dict[str, Any]]:
    """All services by name. ``user``: whether the broker has it; None where that cannot be asked for."""
    async with write_database(settings) as write:
        rows = await write.fetch(LIST)
    try:
        users = await management_of(settings).users() if settings.rabbitmq_management_url else None
    except ManagementError:
        users = None
    return [dict(row) | {"user": None if users is None else row["name"] in users} for row in rows]


async def put_permissions(settings: Settings) -> int:
    """Give every service that has a user the permissions that this version gives to what it may send. Returns how many these are."""
    management = management_of(settings)
    async with write_database(settings) as write:
        rows = await write.fetch(LIST)
    users = await management.users() if rows else frozenset()
    wanted = {row["name"]: permissions(sender(row["name"], row["may"])) for row in rows if row["name"] in users}
    if wanted:
        await management.put(wanted, {})
    return len(wanted)


async def _record(
    operations: asyncpg.Connection, actor: str, act: str, reason: str, name: str, may: Sequence[str]
) -> None:
    async with operations.transaction():
        await record(operations, actor, act, reason, details=json.dumps({"service": name, "may": list(may)}))


def _url(settings: Settings, name: str, password: str) -> str:
    parts = urlsplit(settings.require("rabbitmq_url"))
    host = parts.netloc.rpartition("@")[2]
    query = urlencode([(key, value) for key, value in parse_qsl(parts.query) if key not in OWN_PARAMETERS])
    return parts._replace(netloc=f"{name}:{password}@{host}", query=query).geturl()


def _unknown(name: str) -> ServicesError:
    return ServicesError(f"there is no service {name}: `tidemark services list` shows which there are")
