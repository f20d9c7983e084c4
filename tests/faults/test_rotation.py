"""Every credential is rotated under load: nothing is lost, and no client that holds a valid credential sees an error.

After each rotation all connections that were made with the old credential are ended, so that the new one is really used.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlencode

import asyncpg
import httpx
import pytest
from redis.asyncio import Redis

from deploy.credentials import rotation
from deploy.credentials.accounts import Account, Server, accounts
from deploy.credentials.files import in_files
from deploy.credentials.passwords import is_let_in
from deploy.demo.system import settings_for
from deploy.keys import store as keys
from deploy.run.deployables import DEPLOYABLES, programs
from deploy.run.migrate import migrate
from deploy.run.supervisor import Supervisor
from deploy.servers import packages
from deploy.servers.accounts.urls import ACCOUNTS
from deploy.servers.postgres import ADMIN
from deploy.servers.provide import CHOICE, Servers
from deploy.services import store as services
from shared.messaging.broker import Publisher
from shared.runtime.setting_values import FILE
from shared.runtime.settings import Settings
from tests.certificates import Authority, Files
from tests.e2e.system import address, ports
from tests.e2e.test_tls import (
    POSTGRES_KEY,
    rabbitmq_eval,
    readable,
    reload_certificates,
    tls_servers,
    with_tls,
    with_urls,
)
from tests.faults.rotation import Clients
from tests.issuer import AUDIENCE, ISSUER, Issuer, SigningKey, publishing, signing_key

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.slow,
    pytest.mark.skipif(bool(packages.missing()), reason="the servers' programs are not on this machine"),
]

RECOVERED_WITHIN_S = 60.0
STEADY_S = 3.0
DEPLOYABLE_SESSIONS = "FROM pg_stat_activity WHERE usename LIKE 'tidemark%' AND usename <> $1"
TERMINATE = f"SELECT count(pg_terminate_backend(pid)) {DEPLOYABLE_SESSIONS}"
SESSIONS_BEFORE = f"SELECT array_agg(DISTINCT usename) {DEPLOYABLE_SESSIONS} AND backend_start < $2"
NAME = "rotated-shop"
DECIDED = "SELECT count(*) FROM commands WHERE command_id = ANY ($1)"
OUTCOMES = "SELECT outcome ->> 'type' AS type, count(*) FROM commands WHERE command_id = ANY ($1) GROUP BY 1"
CLOSE_ALL = '[rabbit_networking:close_connection(Pid, "rotated") || Pid <- rabbit_networking:local_connections()].'


@dataclass
class Rotations:
    """A system whose deployables have all URLs from files, over TLS, with its clients under load."""

    servers: Servers
    settings: Settings
    environ: dict[str, str]
    supervisor: Supervisor
    clients: Clients
    issuer: Issuer
    admin: asyncpg.Connection
    plain: Servers
    certificates: "Certificates"

    def accounts(self, server: Server) -> list[Account]:
        return accounts(None, server, self.environ)

    async def rotate(self, what: str, act: Callable[[], Awaitable[None]], *end: Callable[[], Awaitable[None]]) -> None:
        """Do it, end the connections, and wait until an order placed afterwards has arrived everywhere."""
        self.clients.rest()
        await asyncio.sleep(STEADY_S / 2)
        began = time.monotonic()
        await act()
        acted = time.monotonic()
        for step in end:
            await step()
        ended = time.monotonic()
        await self.recovered()
        now = time.monotonic()
        await asyncio.sleep(STEADY_S / 2)
        number, slowest = self.clients.rest()
        print(f"| {what} | {acted - began:.1f} | {now - ended:.1f} | {number} | {slowest:.2f} |", flush=True)
        assert self.clients.errors == [], what
        assert [name for name in DEPLOYABLES if not self.supervisor.running(name)] == [], what

    async def recovered(self) -> None:
        """An order that is placed now is in every read model, and both services are ready."""
        order = await self.clients.place(self.clients.key)
        missing = ["not asked yet"]
        try:
            async with asyncio.timeout(RECOVERED_WITHIN_S):
                while missing := await self._missing(order):  # noqa: ASYNC110 - answers
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"after {RECOVERED_WITHIN_S} s: {'; '.join(missing)}") from None

    async def _missing(self, order: str) -> list[str]:
        """What the system lacks: readiness of both services, the order, and that every read model is fresh."""
        queries, headers = self.clients.queries, _bearer(self.clients.key)
        responses = [await client.get("/health/ready") for client in (self.clients.commands, queries)]
        responses += [await queries.get(path, headers=headers) for path in (f"/orders/{order}", "/freshness")]
        missing = [f"{each.url.path}: {each.text[:500]}" for each in responses if each.status_code != 200]
        lags = {each["projection"]: each.get("lag_seconds") for each in responses[-1].json().get("projections", [])}
        return missing + [f"{name} is behind: {lag}" for name, lag in lags.items() if lag is None or lag >= 3]

    async def end_postgres(self) -> None:
        assert await self.admin.fetchval(TERMINATE, ADMIN) > len(ACCOUNTS)

    async def end_redis(self) -> None:
        async with Redis.from_url(self.plain.stores["analytics"]) as owner:
            execute: Any = owner.execute_command
            for account in self.accounts(Server.REDIS):
                assert await execute("CLIENT", "KILL", "USER", account.user) >= 1, account.user

    async def end_rabbitmq(self) -> None:
        await rabbitmq_eval(self.plain, CLOSE_ALL)

    async def reload_certificates(self) -> None:
        await reload_certificates(self.plain, self.certificates.authority.certificate, self.certificates.server)


def _bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


class Tokens:
    """What a client of the issuer holds: a token that is signed with the issuer's key of the moment."""

    def __init__(self, key: SigningKey) -> None:
        self.key = key
        self._token, self._until = "", 0.0

    def __call__(self) -> str:
        if time.monotonic() > self._until:
            self._token, self._until = (
                self.key.token(sub="rotated-person", scope="commands:* queries:*"),
                time.monotonic() + 30,
            )
        return self._token

    def sign_with(self, key: SigningKey) -> None:
        self.key, self._until = key, 0.0


@dataclass
class Certificates:
    """The files that all servers and clients name, and what is in them."""

    folder: Path
    authority: Authority
    server: Files
    client: Files


@pytest.fixture
async def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rotations]:
    old = signing_key("old")
    monkeypatch.setenv(CHOICE, "private")
    monkeypatch.setenv("TIDEMARK_AUTH", "on")
    async with AsyncExitStack() as stack:
        folder = readable(stack.enter_context(TemporaryDirectory(prefix="tidemark-rotation-")))
        authority = Authority(folder)
        client = authority.issue("client")
        plain, tls_ports = stack.enter_context(tls_servers(monkeypatch, folder, authority))
        assert plain.private is not None
        servers = with_urls(plain, lambda url: with_tls(url, tls_ports, authority.certificate, client))
        settings = settings_for(servers)
        await migrate(settings)
        issuer = await stack.enter_async_context(publishing(old))
        chosen = ports()
        secrets = folder / "secrets"
        environ = {**os.environ, **chosen, **in_files(servers, secrets)} | {
            "TIDEMARK_JWT_ISSUER": ISSUER,
            "TIDEMARK_JWT_AUDIENCE": AUDIENCE,
            "TIDEMARK_JWT_JWKS_URL": issuer.url,
            "TIDEMARK_LOG_LEVEL": "WARNING",
        }
        output = stack.enter_context((tmp_path / "output.log").open("w"))
        supervisor = await stack.enter_async_context(Supervisor(output))
        await supervisor.start(programs(servers, environ))
        service = await services.create(settings, NAME, ["orders.*"], actor="tests", reason="")
        (secrets / NAME).write_text(with_own_certificate(service.url, client))
        monkeypatch.setenv("TIDEMARK_RABBITMQ_URL_FILE", str(secrets / NAME))
        publisher = Publisher(Settings().require("rabbitmq_url"), NAME)
        stack.push_async_callback(publisher.close)
        async with keys.operations_database(settings) as operations:
            made = await keys.create(operations, "rotated", ["*"], None, actor="tests", reason="")
        commands, queries = [
            await stack.enter_async_context(
                httpx.AsyncClient(base_url=address(chosen, which), trust_env=False, timeout=40)
            )
            for which in ("COMMAND", "QUERY")
        ]
        clients = Clients(commands, queries, str(made.key), Tokens(old), publisher, NAME)
        admin = await asyncpg.connect(plain.private.postgres.admin_url())
        stack.push_async_callback(admin.close)
        certificates = Certificates(folder, authority, Files(folder / "server.pem", folder / "server.key"), client)
        yield Rotations(servers, settings, environ, supervisor, clients, issuer, admin, plain, certificates)


def with_own_certificate(url: str, client: Files) -> str:
    """A service's URL has no client certificate: that of the administrator is not for it."""
    return f"{url}&{urlencode({'certfile': str(client.certificate), 'keyfile': str(client.key)})}"


async def test_every_credential_is_rotated_at_50_orders_a_second(running: Rotations) -> None:
    print("| rotated | rotation, s | recovered, s | requests | slowest, s |")
    print("|---|---|---|---|---|")
    async with running.clients.running():
        await running.recovered()
        for step in (api_key, signing_keys, service, rabbitmq, postgresql, redis, certificates):
            await step(running)
    assert running.clients.errors == []
    sent = running.clients.sent
    write = await asyncpg.connect(running.servers.write_db_url)
    async with asyncio.timeout(RECOVERED_WITHIN_S):
        while (await write.fetchval(DECIDED, sent)) < len(sent):  # noqa: ASYNC110 - rows
            await asyncio.sleep(0.2)
    assert [tuple(row) for row in await write.fetch(OUTCOMES, sent)] == [("command.accepted", len(sent))]
    await write.close()
    await running.recovered()
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "deploy.cli.main", "verify", "--output", "json"],
        env=_plain_environ() | running.servers.environ(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["equal"]
    print(f"{len(sent)} orders, each accepted once, in every read model")


def _plain_environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.endswith("_URL" + FILE)}


async def api_key(running: Rotations) -> None:
    clients, before = running.clients, running.clients.key

    async def rotate() -> None:
        async with keys.operations_database(running.settings) as operations:
            old = before.split("_")[1]
            made = await keys.rotate(operations, old, None, timedelta(hours=1), actor="tests", reason="")
            clients.key = str(made.key)
            await clients.settled()
            await keys.revoke(operations, old, actor="tests", reason="")

    await running.rotate("API key", rotate)
    assert (await clients.queries.get("/freshness", headers=_bearer(before))).status_code == 401


async def signing_keys(running: Rotations) -> None:
    clients, new = running.clients, signing_key("new", "EdDSA")
    assert isinstance(clients.token, Tokens)
    tokens = clients.token

    async def rotate() -> None:
        running.issuer.keys.append(new)
        tokens.sign_with(new)
        await clients.settled()
        running.issuer.keys.remove(running.issuer.keys[0])

    await running.rotate("signing key of tokens", rotate)
    assert running.issuer.keys == [new]


async def service(running: Rotations) -> None:
    file = Path(os.environ["TIDEMARK_RABBITMQ_URL_FILE"])
    old = await asyncio.to_thread(file.read_text)

    async def rotate() -> None:
        made = await services.rotate(running.settings, NAME, actor="tests", reason="")
        url = with_own_certificate(made.url, running.certificates.client)
        await asyncio.to_thread(file.write_text, url)

    await running.rotate("password of a service at RabbitMQ", rotate, running.end_rabbitmq)
    assert not await is_let_in(Account(NAME, Server.RABBITMQ, NAME, "", "", {}), old)


async def rabbitmq(running: Rotations) -> None:
    await rotated(running, Server.RABBITMQ, running.end_rabbitmq)


async def postgresql(running: Rotations) -> None:
    ended = await running.admin.fetchval("SELECT clock_timestamp()")
    await rotated(running, Server.POSTGRESQL, running.end_postgres)
    assert await running.admin.fetchval(SESSIONS_BEFORE, ADMIN, ended) is None


async def redis(running: Rotations) -> None:
    await rotated(running, Server.REDIS, running.end_redis)


async def rotated(running: Rotations, server: Server, end: Callable[[], Awaitable[None]]) -> None:
    """All accounts at this server; afterwards none of the old passwords is let in."""
    old = running.accounts(server)

    async def rotate() -> None:
        found = running.accounts(server)
        await rotation.rotate(running.settings, found, actor="tests", reason="a test")

    await running.rotate(f"passwords of {len(old)} deployables at {server.name}", rotate, end)
    assert len(running.accounts(server)) == len(old)
    for account in old:
        assert not await is_let_in(account, account.url), account
        assert await is_let_in(account, next(one for one in running.accounts(server) if one == account).url)


async def certificates(running: Rotations) -> None:
    """First the new authority is trusted, then servers and clients get certificates of it, then the old one is not trusted any more."""
    files = running.certificates
    trusted, second = files.authority.certificate, Authority(files.folder, "second")
    first_alone, second_alone = trusted.read_text(), second.certificate.read_text()
    ends = (running.reload_certificates, running.end_postgres, running.end_redis, running.end_rabbitmq)

    async def trust_both() -> None:
        trusted.write_text(first_alone + second_alone)

    async def servers() -> None:
        second.issue("second-server").replace(files.server)
        shutil.copyfile(files.server.key, files.folder / POSTGRES_KEY)

    async def clients() -> None:
        second.issue("second-client").replace(files.client)

    async def trust_second() -> None:
        trusted.write_text(second_alone)

    await running.rotate("certificates: a second authority", trust_both, *ends)
    await running.rotate("certificates of the servers", servers, *ends)
    await running.rotate("certificates of the clients", clients, *ends)
    await running.rotate("certificates: the first authority removed", trust_second, *ends)
