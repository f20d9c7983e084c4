"""The whole system with authentication on, and the credentials that tests make for it."""

import os
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from deploy.demo.system import settings_for
from deploy.keys import store
from deploy.run.child import Program
from deploy.run.deployables import program
from tests.e2e.system import System, own_servers, running_system
from tests.front_door import HOST
from tests.issuer import AUDIENCE, ISSUER, Issuer, publishing, signing_key

OPERATORS_KEY = "the operators' key"
OLD, NEW = signing_key("old", "ES256"), signing_key("new", "RS256")
"""Whose tokens are accepted from the beginning; once the issuer publishes it."""


@dataclass(frozen=True)
class Secured(System):
    variables: Mapping[str, str] = field(kw_only=True)
    """What its deployables have besides what the servers say."""
    issuer: Issuer = field(kw_only=True)

    def own(self, name: str, **settings: str) -> Program:
        """One more of a deployable, with other settings."""
        return program(name, self.servers, {**os.environ, **self.variables, **settings})

    async def key(self, subject: str, *scopes: str, lifetime: timedelta | None = None) -> store.NewKey:
        async with store.operations_database(settings_for(self.servers)) as connection:
            return await store.create(connection, subject, scopes, lifetime, actor="a test", reason="a test")

    async def headers(self, subject: str, *scopes: str) -> dict[str, str]:
        return bearer(str((await self.key(subject, *scopes)).key))


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


def subject(name: str) -> str:
    return f"{name}-{secrets.token_hex(4)}"


@asynccontextmanager
async def secured_system(folder: Path) -> AsyncIterator[Secured]:
    """Servers and a system of its own: every deployable has authentication on. No credential is in what they log, and no traceback."""
    log = folder / "output.log"
    async with publishing(OLD) as issuer:
        settings = {
            "TIDEMARK_AUTH": "on",
            "TIDEMARK_OPERATOR_KEY": OPERATORS_KEY,
            "TIDEMARK_JWT_ISSUER": ISSUER,
            "TIDEMARK_JWT_AUDIENCE": AUDIENCE,
            "TIDEMARK_JWT_JWKS_URL": issuer.url,
            "TIDEMARK_PAYMENT_PROVIDER": "local",
            "TIDEMARK_TRUSTED_PROXIES": "127.0.0.1",
            "TIDEMARK_ALLOWED_HOSTS": HOST,
            "TIDEMARK_RATE_LIMIT": "0",
        }
        with own_servers() as servers:
            async with running_system(servers, log, settings) as system:
                yield Secured(**vars(system), variables=settings, issuer=issuer)
    text = log.read_text()
    assert "Traceback" not in text
    assert "unexpected error" not in text
    assert "tmk_" not in text
