"""RabbitMQ's management HTTP API: users and their permissions, on private nodes, in containers and elsewhere alike.

``TIDEMARK_RABBITMQ_MANAGEMENT_URL``: ``http://administrator:password@host:15672``; with ``https``, ``?cafile=`` names the CA's certificate.
Passwords are sent as salted hashes only.
"""

import base64
import hashlib
import secrets
import ssl
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs, quote, unquote, urlsplit

import httpx

from deploy.errors import ServerUnavailableError
from shared.messaging.permissions import Permissions

TIMEOUT_S: Final = 20.0
SALT_BYTES: Final = 4
"""RabbitMQ's format: the salt, and the SHA-256 of salt and password, together in Base64."""


class ManagementError(ServerUnavailableError):
    """The management API cannot be reached, or has refused a request; the message says why."""


class Management:
    """Users and permissions of one virtual host. Raises ManagementError."""

    def __init__(self, url: str, vhost: str = "/") -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ManagementError(
                "TIDEMARK_RABBITMQ_MANAGEMENT_URL: a URL like http://user:password@host:15672 is needed"
            )
        port = f":{parts.port}" if parts.port else ""
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self._base = f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}/api"
        self._auth = (unquote(parts.username or ""), unquote(parts.password or ""))
        self._verify = ssl.create_default_context(cafile=parse_qs(parts.query).get("cafile", [None])[0])
        self._vhost = vhost

    async def users(self) -> frozenset[str]:
        """The names of all users."""
        return frozenset(each["name"] for each in await self._request("GET", "users?columns=name"))

    async def put(self, permissions: Mapping[str, Permissions], passwords: Mapping[str, str]) -> None:
        """Set the permissions of these users, in one request; a user with a password is created, or has it from now on.

        Its connections go on. A user without one must exist.
        """
        await self._request("POST", "definitions", _definitions(self._vhost, permissions, passwords))

    async def set_password(self, name: str, password: str) -> None:
        await self._request("PUT", f"users/{quote(name, safe='')}", {"password_hash": _hashed(password), "tags": ""})

    async def with_other_passwords(self, passwords: Mapping[str, str]) -> list[str]:
        """Those of these users that exist, and have another password, by name."""
        found = {each["name"]: each for each in await self._request("GET", "users?columns=name,password_hash")}
        return sorted(
            name
            for name, password in passwords.items()
            if name in found and not _is_hash_of(found[name].get("password_hash") or "", password)
        )

    async def delete(self, name: str) -> None:
        """Delete the user, and close its connections. Nothing happens if there is none."""
        await self._request("DELETE", f"users/{quote(name, safe='')}", missing_is_fine=True)

    async def _request(self, method: str, path: str, body: Any = None, *, missing_is_fine: bool = False) -> Any:
        try:
            async with httpx.AsyncClient(
                auth=self._auth, verify=self._verify, timeout=TIMEOUT_S, trust_env=False
            ) as client:
                response = await client.request(method, f"{self._base}/{path}", json=body)
        except httpx.HTTPError as error:
            raise ManagementError(f"RabbitMQ's management API: {error or type(error).__name__}") from error
        if response.status_code == httpx.codes.NOT_FOUND and missing_is_fine:
            return None
        if response.is_error:
            refusal = (
                "it refuses these credentials" if response.status_code == httpx.codes.UNAUTHORIZED else response.text
            )
            raise ManagementError(f"RabbitMQ's management API: {method} {path.partition('?')[0]}: {refusal[:300]}")
        return response.json() if response.content else None


def _definitions(
    vhost: str, permissions: Mapping[str, Permissions], passwords: Mapping[str, str]
) -> dict[str, list[dict[str, str]]]:
    return {
        "users": [
            {
                "name": name,
                "password_hash": _hashed(password),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": "",
            }
            for name, password in passwords.items()
        ],
        "permissions": [
            {"user": name, "vhost": vhost, "configure": each.configure, "write": each.write, "read": each.read}
            for name, each in permissions.items()
        ],
        "topic_permissions": [
            {"user": name, "vhost": vhost, "exchange": exchange, "write": write, "read": read}
            for name, each in permissions.items()
            for exchange, (write, read) in each.topics.items()
        ],
    }


def _is_hash_of(found: str, password: str) -> bool:
    salt = base64.b64decode(found)[:SALT_BYTES]
    return found == _hashed(password, salt)


def _hashed(password: str, salt: bytes | None = None) -> str:
    salt = salt or secrets.token_bytes(SALT_BYTES)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
