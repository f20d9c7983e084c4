"""TLS to all three servers by URLs alone: a private authority, and a client certificate that each server requires."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

import asyncpg
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from deploy.run.deployables import program
from deploy.run.supervisor import Supervisor
from deploy.servers import postgres, programs, rabbitmq, redis
from deploy.servers.ports import free_port
from deploy.servers.postgres import ADMIN, unprivileged_user
from deploy.servers.provide import Servers
from projectors.models.analytics.connection import client
from shared.messaging.broker import BrokerUnavailableError, Publisher
from shared.runtime.postgres import connect_pool, reading
from tests.certificates import Authority, Files
from tests.e2e.bus import bus_of
from tests.e2e.system import System, own_servers, running_system

pytestmark = pytest.mark.timeout(400)

# The superuser makes the databases over the plain connection; everybody else needs TLS and a certificate of the authority.
ACCESS_TO_POSTGRES = """
hostnossl all tidemark_admin 127.0.0.1/32 scram-sha-256
hostssl   all all            127.0.0.1/32 scram-sha-256 clientcert=verify-ca
"""
RABBITMQ_TLS = """
listeners.ssl.1 = 127.0.0.1:{port}
ssl_options.cacertfile = {ca}
ssl_options.certfile = {certificate}
ssl_options.keyfile = {key}
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
"""
REDIS_TLS = """
tls-port {port}
tls-ca-cert-file {ca}
tls-cert-file {certificate}
tls-key-file {key}
tls-auth-clients yes
"""


POSTGRES_KEY = "postgres.key"
END_SESSIONS = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename LIKE 'tidemark%' AND usename <> $1"
)
CLOSE_CONNECTIONS = '[rabbit_networking:close_connection(Pid, "test") || Pid <- rabbit_networking:local_connections()].'

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
TODAY = {
    "from": (NOW - timedelta(hours=2)).isoformat(),
    "to": (NOW + timedelta(hours=3)).isoformat(),
    "granularity": "hour",
}


@dataclass(frozen=True)
class Secured:
    system: System
    authority: Authority
    client: Files
    expired: Files
    folder: Path
    plain: Servers


def with_tls(url: str, ports: dict[str, int], ca: Path, client: Files | None) -> str:
    """The same server over TLS."""
    parts = urlsplit(url)
    names, scheme, port, extra = {
        "amqp": (("cafile", "certfile", "keyfile"), "amqps", ports["rabbitmq"], {"heartbeat": "10"}),
        "redis": (("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"), "rediss", ports["redis"], {}),
        "postgresql": (("sslrootcert", "sslcert", "sslkey"), "postgresql", parts.port, {"sslmode": "verify-full"}),
    }[parts.scheme]
    files = {names[0]: str(ca)}
    if client is not None:
        files |= {names[1]: str(client.certificate), names[2]: str(client.key)}
    login = parts.netloc.rpartition("@")[0]
    return parts._replace(scheme=scheme, netloc=f"{login}@127.0.0.1:{port}", query=urlencode(extra | files)).geturl()


@contextmanager
def tls_servers(
    patch: pytest.MonkeyPatch, folder: Path, authority: Authority
) -> Iterator[tuple[Servers, dict[str, int]]]:
    """Private servers that also listen with TLS, and the ports of RabbitMQ and Redis for it."""
    server = authority.issue("server")
    ports = {"rabbitmq": free_port(), "redis": free_port()}
    files = {"ca": authority.certificate, "certificate": server.certificate, "key": server.key}
    patch.setattr(rabbitmq, "SETTINGS", rabbitmq.SETTINGS + RABBITMQ_TLS.format(port=ports["rabbitmq"], **files))
    patch.setattr(redis, "SETTINGS", redis.SETTINGS + REDIS_TLS.format(port=ports["redis"], **files))
    key = folder / POSTGRES_KEY  # PostgreSQL takes a key that only its own user can read
    shutil.copy(server.key, key)
    key.chmod(0o600)
    if user := unprivileged_user():
        shutil.chown(key, user)
    access = folder / "pg_hba.conf"
    access.write_text(ACCESS_TO_POSTGRES)
    access.chmod(0o644)
    tls = {
        "ssl": "on",
        "ssl_ca_file": str(authority.certificate),
        "ssl_cert_file": str(server.certificate),
        "ssl_key_file": str(key),
        "hba_file": str(access),
    }
    patch.setattr(postgres, "SETTINGS", postgres.SETTINGS | tls)
    with own_servers() as servers:
        yield servers, ports


async def reload_certificates(plain: Servers, trusted: Path, server: Files) -> None:
    """Have all three servers read the authority's file, and their own certificates and keys, again. Connections go on."""
    assert plain.private is not None
    admin = await asyncpg.connect(plain.private.postgres.admin_url())
    await admin.execute("SELECT pg_reload_conf()")
    await admin.close()
    async with Redis.from_url(plain.stores["analytics"]) as owner:
        execute: Any = owner.execute_command
        await execute(
            *("CONFIG", "SET", "tls-ca-cert-file", str(trusted)),
            *("tls-cert-file", str(server.certificate), "tls-key-file", str(server.key)),
        )
    await rabbitmq_eval(plain, "ssl:clear_pem_cache().")


async def rabbitmq_eval(plain: Servers, expression: str) -> None:
    assert plain.private is not None
    program = programs.rabbitmq_server().with_name("rabbitmqctl")
    environ = plain.private.rabbitmq.environment()
    done = await asyncio.to_thread(
        subprocess.run, [str(program), "eval", expression], env=environ, capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 0, done.stdout + done.stderr


def readable(name: str) -> Path:
    """The folder, which PostgreSQL's user can read: it has the certificates."""
    folder = Path(name)
    folder.chmod(0o755)
    return folder


def with_urls(plain: Servers, changed: Callable[[str], str]) -> Servers:
    """The same servers with all their URLs changed."""
    return replace(
        plain,
        rabbitmq_url=changed(plain.rabbitmq_url),
        write_db_url=changed(plain.write_db_url),
        operations_db_url=changed(plain.operations_db_url),
        processes_db_url=changed(plain.processes_db_url),
        keys_db_url=changed(plain.keys_db_url),
        stores={name: changed(url) for name, url in plain.stores.items()},
        own={name: {setting: changed(url) for setting, url in urls.items()} for name, urls in plain.own.items()},
    )


@pytest.fixture(scope="module")
async def secured(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Secured]:
    with TemporaryDirectory(prefix="tidemark-tls-") as name, pytest.MonkeyPatch.context() as patch:
        folder = readable(name)
        authority = Authority(folder)
        client, expired = authority.issue("client"), authority.issue("expired", expired=True)
        with tls_servers(patch, folder, authority) as (plain, ports):
            servers = with_urls(plain, lambda url: with_tls(url, ports, authority.certificate, client))
            async with running_system(servers, tmp_path_factory.mktemp("tls") / "output.log") as system:
                yield Secured(system, authority, client, expired, folder, plain)


async def test_an_order_goes_all_the_way_over_tls(secured: Secured) -> None:
    system = secured.system
    order, product = f"o-{uuid4().hex}", f"p-{uuid4().hex}"
    line = {"product_id": product, "quantity": 2, "amount": 998}
    placed = {"order_id": order, "customer_id": "c-1", "currency": "EUR", "lines": [line]}
    await system.bus.accepted("orders.place-order", placed)
    assert (await system.visible(f"/orders/{order}"))["total"] == 998
    await system.visible("/search/orders", lambda found: found["total"] == 1, q=order)
    await system.visible("/analytics/revenue", lambda found: found["total"]["revenue"] == 998, **TODAY)
    connection = await asyncpg.connect(system.servers.write_db_url)
    try:
        plain = (
            "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE NOT ssl AND usename IS NOT NULL"
        )
        assert await connection.fetchval(f"{plain} AND usename <> 'tidemark_admin' AND client_addr IS NOT NULL") == 0
    finally:
        await connection.close()


def clients(secured: Secured, ca: Path, client: Files | None) -> dict[str, Callable[[], Any]]:
    """Connecting to each server with this authority and this certificate."""
    servers = secured.system.servers

    def changed(url: str) -> str:
        parts = urlsplit(url)
        plain = parts._replace(scheme={"amqps": "amqp", "rediss": "redis"}.get(parts.scheme, parts.scheme)).geturl()
        ports = dict.fromkeys(("rabbitmq", "redis"), parts.port or 0)
        return with_tls(plain, ports, ca, client)

    async def to_rabbitmq() -> None:
        publisher = Publisher(changed(servers.rabbitmq_url), "tests")
        try:
            await publisher.open()
        finally:
            await publisher.close()

    async def to_postgres() -> None:
        await (await connect_pool(changed(servers.write_db_url))).close()

    async def to_redis() -> None:
        async with Redis.from_url(changed(servers.stores["analytics"])) as connection:
            await connection.ping()

    return {"RabbitMQ": to_rabbitmq, "PostgreSQL": to_postgres, "Redis": to_redis}


REFUSALS = (BrokerUnavailableError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError, RedisError)


@pytest.mark.parametrize("server", ["RabbitMQ", "PostgreSQL", "Redis"])
async def test_each_server_takes_the_authority_s_clients(secured: Secured, server: str) -> None:
    await clients(secured, secured.authority.certificate, secured.client)[server]()


@pytest.mark.parametrize("server", ["RabbitMQ", "PostgreSQL", "Redis"])
async def test_a_server_of_another_authority_is_not_trusted_and_the_message_says_so(
    secured: Secured, server: str
) -> None:
    other = Authority(secured.folder, "other")
    with pytest.raises(REFUSALS, match=r"certificate verify failed"):
        await clients(secured, other.certificate, secured.client)[server]()


@pytest.mark.parametrize("server", ["RabbitMQ", "PostgreSQL", "Redis"])
async def test_a_client_without_a_certificate_is_refused(secured: Secured, server: str) -> None:
    """With TLS 1.3 the client may see the connection closed before it reads why."""
    with pytest.raises(REFUSALS):
        await clients(secured, secured.authority.certificate, None)[server]()


@pytest.mark.parametrize("server", ["RabbitMQ", "PostgreSQL", "Redis"])
async def test_a_client_with_an_expired_certificate_is_refused(secured: Secured, server: str) -> None:
    with pytest.raises(REFUSALS, match=r"(?i)client certificate .*expired\.pem expired at |certificate expired"):
        await clients(secured, secured.authority.certificate, secured.expired)[server]()


async def test_a_password_alone_does_not_reach_the_databases(secured: Secured) -> None:
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await asyncpg.connect(secured.plain.write_db_url, ssl=False, timeout=30)


async def test_a_deployable_says_in_its_health_what_is_wrong_with_the_certificate(
    secured: Secured, tmp_path: Path
) -> None:
    other = Authority(secured.folder, "another")
    one = program("relay", secured.system.servers, os.environ | {"TIDEMARK_RUNTIME_DIR": str(tmp_path)})
    wrong = one.env["TIDEMARK_RABBITMQ_URL"].replace(secured.authority.certificate.name, other.certificate.name)
    health = tmp_path / "relay.json"
    async with Supervisor(output=None) as supervisor:
        starting = asyncio.create_task(
            supervisor.start([replace(one, env={**one.env, "TIDEMARK_RABBITMQ_URL": wrong})], ready_within=120)
        )
        async with asyncio.timeout(90):
            while "certificate verify failed" not in await asyncio.to_thread(_read, health):  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.1)
        assert not starting.done()
        starting.cancel()


async def test_certificates_and_their_authority_are_replaced_while_everything_runs(secured: Secured) -> None:
    """The last test here: the others' certificates are not valid afterwards."""
    servers, plain = secured.system.servers, secured.plain
    assert plain.private is not None
    pool = await connect_pool(servers.write_db_url, max_size=1)
    publisher, redis = Publisher(servers.rabbitmq_url, "tests"), client(servers.stores["analytics"])

    async def use() -> None:
        assert await reading(lambda: pool.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))
        await publisher.open()
        with suppress(RedisError):  # of a connection that was ended: the next is made again
            await redis.ping()
        await redis.ping()

    await use()
    second, server = (
        Authority(secured.folder, "second"),
        Files(*(secured.folder / f"server.{end}" for end in ("pem", "key"))),
    )
    secured.authority.certificate.write_bytes(second.certificate.read_bytes())
    second.issue("second-client").replace(secured.client)
    second.issue("second-server").replace(server)
    shutil.copyfile(server.key, secured.folder / POSTGRES_KEY)
    await reload_certificates(plain, secured.authority.certificate, server)
    admin = await asyncpg.connect(plain.private.postgres.admin_url())
    assert await admin.fetchval(END_SESSIONS, ADMIN)
    await admin.close()
    async with Redis.from_url(plain.stores["analytics"]) as owner:
        await owner.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")  # type: ignore[no-untyped-call]
    await rabbitmq_eval(plain, CLOSE_CONNECTIONS)
    await use()
    await publisher.close()
    await pool.close()
    await redis.aclose()
    async with bus_of(servers.rabbitmq_url) as bus:
        order = f"o-{uuid4().hex}"
        line = {"product_id": "p-1", "quantity": 1, "amount": 1}
        placed = {"order_id": order, "customer_id": "c-1", "currency": "EUR", "lines": [line]}
        await bus.accepted("orders.place-order", placed)
    await secured.system.visible(f"/orders/{order}")
    await secured.system.visible("/search/orders", lambda found: found["total"] == 1, q=order)


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""
