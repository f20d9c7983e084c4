"""Sets the password of one account at its server. What is sent is a hash, wherever the server takes one.

PostgreSQL   the role sets its own (``ALTER ROLE``), as a SCRAM verifier; it has one, and connections live on
RabbitMQ     the management API, as a salted hash; a user has one, and connections live on
Redis        the owner adds it to the user, and removes the old one at the end; connections live on
"""

import base64
import hashlib
import hmac
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
from aio_pika.exceptions import ProbableAuthenticationError
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, ResponseError

from deploy.credentials.accounts import Account, Server
from deploy.services.store import management_of
from shared.messaging.broker import CONNECT_DEADLINE_S, connect, deadline
from shared.runtime.postgres import CONNECT_TIMEOUT_S
from shared.runtime.settings import Settings

ITERATIONS: Final = 4096
"""PostgreSQL's own number."""
SET_OWN: Final = "SELECT format('ALTER ROLE %I PASSWORD %L', current_user, $1::text)"
MAY_WRITE: Final = {"default_transaction_read_only": "off"}
"""Roles that only read have it on."""
REFUSALS: Final = (asyncpg.InvalidAuthorizationSpecificationError, ProbableAuthenticationError, AuthenticationError)

Step = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Change:
    """``set_new``: from then on the new password is let in. ``remove_old``: afterwards the old one is not, at the latest."""

    set_new: Step
    remove_old: Step


@asynccontextmanager
async def change(settings: Settings, account: Account, new: str) -> AsyncIterator[Change]:
    """The steps, with what they need already connected. Raises the server's errors, and MissingSettingError."""
    match account.server:
        case Server.POSTGRESQL:
            connection = await asyncpg.connect(
                account.url, timeout=CONNECT_TIMEOUT_S, command_timeout=30, server_settings=MAY_WRITE
            )

            async def set_own() -> None:
                await connection.execute(await connection.fetchval(SET_OWN, scram_verifier(new)))

            try:
                yield Change(set_own, _nothing)
            finally:
                connection.terminate()
        case Server.RABBITMQ:
            management = management_of(settings)
            await management.users()
            yield Change(lambda: management.set_password(account.user, new), _nothing)
        case Server.REDIS:
            async with Redis.from_url(settings.require(account.setting), socket_timeout=30) as owner:
                execute: Any = owner.execute_command

                async def add() -> None:
                    await execute("ACL", "SETUSER", account.user, f"#{_sha256(new)}")

                async def remove() -> None:
                    await execute("ACL", "SETUSER", account.user, f"!{_sha256(account.password)}")
                    await _save(execute)

                await owner.ping()
                yield Change(add, remove)


async def is_let_in(account: Account, url: str) -> bool:
    """Whether the server takes this URL's password. Raises its other errors."""
    try:
        match account.server:
            case Server.POSTGRESQL:
                (await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S)).terminate()
            case Server.RABBITMQ:
                async with deadline(CONNECT_DEADLINE_S * 2):
                    await (await connect(url, "tidemark credentials")).close()
            case Server.REDIS:
                async with Redis.from_url(url, socket_timeout=30) as redis:
                    await redis.ping()
    except Exception as error:
        if isinstance(error, REFUSALS) or isinstance(error.__cause__, REFUSALS):
            return False
        raise
    return True


def scram_verifier(password: str, salt: bytes | None = None) -> str:
    """What PostgreSQL stores of a password (RFC 5803, RFC 7677): with it the server can check a login, and nobody can log in.

    For passwords of ASCII alone, which need no normalisation (SASLprep).
    """
    salt = salt or os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    return f"SCRAM-SHA-256${ITERATIONS}:{_base64(salt)}${_base64(stored)}:{_base64(server)}"


async def _save(execute: Any) -> None:
    """Into the ACL file, where the server has one; where its users are in its configuration, the operator changes them there."""
    try:
        await execute("ACL", "SAVE")
    except ResponseError as error:
        if "not configured" not in str(error):
            raise


async def _nothing() -> None:
    pass


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
