"""docker compose makes the same roles, users and databases as private servers have, and gives each deployable only its own."""

import asyncio
import contextlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import asyncpg
import pytest
import yaml
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from deploy.servers import packages
from deploy.servers.accounts import redis_users
from deploy.servers.accounts.databases import KEYS, OPERATIONS, PROCESSES, READ, WRITE
from deploy.servers.accounts.urls import ACCOUNTS, ROLES
from deploy.servers.ports import free_port
from deploy.servers.postgres import ADMIN, Postgres
from shared.runtime.roles import OWNER, role_of
from shared.runtime.setting_values import variable

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
BUS = "rabbitmq_url"
SECRET = re.compile(r"\$\{(\w+):\?[^}]*\}")

EXPORTER = "tidemark_exporter"
"""For the metrics of PostgreSQL, which only compose has."""
ROLES_THERE = """
SELECT rolname AS role, rolsuper, rolcreaterole, rolcanlogin, setconfig,
    ARRAY(SELECT roleid::regrole::text FROM pg_auth_members WHERE member = pg_roles.oid ORDER BY 1) AS member_of
FROM pg_roles LEFT JOIN pg_db_role_setting ON setrole = pg_roles.oid AND setdatabase = 0
WHERE rolname LIKE 'tidemark%' ORDER BY 1
"""
DATABASES = """
SELECT datname AS name, datdba::regrole::text AS owner FROM pg_database WHERE datname LIKE 'tidemark%' ORDER BY 1
"""
OPEN_TO_ALL = """
SELECT 'database ' || datname AS what FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) WHERE grantee = 0
    AND datname <> 'template0'
UNION SELECT 'schema ' || nspname FROM pg_namespace, aclexplode(nspacl) WHERE grantee = 0 AND nspname = 'public'
UNION SELECT 'function ' || proname FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner)))
WHERE grantee = 0 AND (proname LIKE 'lo\\_%' OR proname IN ('loread', 'lowrite')) AND pronamespace = 'pg_catalog'::regnamespace
"""


def environment_of(service: str) -> dict[str, str]:
    return dict(SERVICES[service]["environment"])


@pytest.mark.parametrize("name", sorted(ACCOUNTS.keys() & SERVICES.keys()))
def test_a_service_gets_the_urls_that_it_needs_with_its_own_accounts(name: str) -> None:
    given = {key: url for key, url in environment_of(name).items() if key.endswith("_URL") and "JWKS" not in key}
    assert given.keys() == {variable(setting) for setting in ACCOUNTS[name]}
    for setting in ACCOUNTS[name]:
        url = urlsplit(SECRET.sub(r"\1", given[variable(setting)]))
        if setting.endswith("_db_url"):
            assert (url.username, url.password) == (role_of(name), f"{role_of(name).upper()}_DB_PASSWORD")
            store = {"write_db_url": "write-db", "keys_db_url": "keys-db"}.get(setting, "read-db")
            assert url.hostname == store
            assert role_of(name) in SERVICES[store]["environment"]["TIDEMARK_ROLES"].split(",")
        elif setting.endswith("_redis_url"):
            user = redis_users.user_of(name)
            assert (url.username, url.password) == (user, f"REDIS_{user.upper()}_PASSWORD")


def test_every_deployable_is_a_service_and_its_role_is_made() -> None:
    made = {
        role
        for store in ("write-db", "read-db")
        for role in SERVICES[store]["environment"]["TIDEMARK_ROLES"].split(",")
    }
    assert made | {OWNER} == {*ROLES, EXPORTER}
    assert set(ACCOUNTS) - set(SERVICES) <= {"payment_provider"}


def test_no_secret_is_in_an_argument_and_each_is_generated(tmp_path: Path) -> None:
    for name, service in SERVICES.items():
        assert not SECRET.search(str(service.get("command"))), name
    file = tmp_path / "env"
    old = "RABBITMQ_PASSWORD=kept\n"
    file.write_text(old)
    file.chmod(0o644)
    for _ in range(2):
        subprocess.run([ROOT / "deploy/compose-env.sh", file], check=True, capture_output=True)
        assert file.stat().st_mode & 0o777 == 0o600
    lines = dict(line.split("=", 1) for line in file.read_text().splitlines() if not line.startswith("#"))
    assert lines["RABBITMQ_PASSWORD"] == "kept"  # noqa: S105
    assert set(SECRET.findall((ROOT / "docker-compose.yml").read_text())) == lines.keys()
    assert len(set(lines.values())) == len(lines)
    new = tmp_path / "new"
    subprocess.run([ROOT / "deploy/compose-env.sh", new], check=True, capture_output=True)
    assert new.stat().st_mode & 0o777 == 0o600


@pytest.fixture
def clusters(tmp_path: Path) -> Iterator[tuple[Postgres, Postgres]]:
    """Two new ones, running: nothing is in the first, and the second is as private servers are."""
    if packages.missing():
        pytest.skip("the servers' programs are not on this machine")
    for folder in (tmp_path.parent, tmp_path):
        folder.chmod(0o711)
    folders = [tmp_path / "bare", tmp_path / "private"]
    for folder in folders:
        folder.mkdir(mode=0o711)
    bare, private = map(Postgres, folders)
    try:
        bare.start()
        bare._process.wait_until(bare._is_ready, 90, bare.port)
        private.start()
        private.wait_ready(90)
        yield bare, private
    finally:
        for server in (bare, private):
            server.stop(discard_data=True)


@pytest.mark.timeout(240)
async def test_compose_makes_what_private_servers_have(clusters: tuple[Postgres, Postgres]) -> None:
    bare, _ = clusters
    passwords = {f"{role.upper()}_DB_PASSWORD": f'password of {role}\'s "own"' for role in (*ROLES, EXPORTER)}
    names = (WRITE, READ, OPERATIONS, PROCESSES, KEYS)
    environ = {
        "PATH": os.environ["PATH"],
        "PGHOST": "127.0.0.1",
        "PGPORT": str(bare.port),
        "PGPASSWORD": urlsplit(bare.admin_url()).password or "",
        "POSTGRES_USER": ADMIN,
        "TIDEMARK_SQL": str(ROOT / "deploy/postgres"),
        "TIDEMARK_ROLES": ",".join(ROLES[1:]),
        "TIDEMARK_DATABASES": " ".join(names),
    }
    for _ in range(2):  # it may be run again
        process = await asyncio.create_subprocess_exec(
            ROOT / "deploy/postgres/init.sh", env=environ | passwords, stderr=asyncio.subprocess.PIPE
        )
        _, errors = await process.communicate()
        assert process.returncode == 0, errors
    async with asyncio.timeout(60):
        for statement in (ROLES_THERE, DATABASES, OPEN_TO_ALL):
            for name in names if statement is OPEN_TO_ALL else names[:1]:
                made, wanted = [await _rows(server.admin_url(name), statement) for server in clusters]
                assert made == wanted
                assert bool(made) == (statement is not OPEN_TO_ALL)
        for role in ROLES:
            password = passwords[f"{role.upper()}_DB_PASSWORD"]
            database = WRITE if role == OWNER else "postgres"
            # The others have no database yet, and the server checks that after the password.
            refused = contextlib.nullcontext() if role == OWNER else pytest.raises(asyncpg.InsufficientPrivilegeError)
            with refused:
                url = f"postgresql://{role}:{quote(password)}@127.0.0.1:{bare.port}/{database}"
                await (await asyncpg.connect(url)).close()
        environ["TIDEMARK_ROLES"] += f",{EXPORTER}"
        again = await asyncio.create_subprocess_exec(ROOT / "deploy/postgres/init.sh", env=environ | passwords)
        assert await again.wait() == 0
        await _the_exporter_sees_figures_alone(bare.port, quote(passwords[f"{EXPORTER.upper()}_DB_PASSWORD"]))


async def _the_exporter_sees_figures_alone(port: int, password: str) -> None:
    exporter = await asyncpg.connect(f"postgresql://{EXPORTER}:{password}@127.0.0.1:{port}/postgres")
    try:
        member_of = await exporter.fetch(
            "SELECT roleid::regrole::text FROM pg_auth_members WHERE member = $1::regrole", EXPORTER
        )
        assert [role for (role,) in member_of] == ["pg_monitor"]
        assert await exporter.fetchval("SELECT count(*) FROM pg_ls_waldir()") > 0
        assert await exporter.fetchval("SELECT pg_database_size($1)", WRITE) > 0
        await exporter.execute("SET default_transaction_read_only = off")
        for forbidden in (
            "CREATE TEMPORARY TABLE x ()",
            "SELECT passwd FROM pg_shadow",
            "SET ROLE tidemark",
            "SELECT pg_read_file('PG_VERSION')",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await exporter.execute(forbidden)
    finally:
        await exporter.close()
    for database in (WRITE, READ, OPERATIONS, PROCESSES, KEYS):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asyncpg.connect(f"postgresql://{EXPORTER}:{password}@127.0.0.1:{port}/{database}")


async def _answers(port: int, password: str) -> bool:
    try:
        async with Redis(port=port, username="tidemark", password=password) as redis:
            return bool(await redis.ping())
    except RedisConnectionError:
        return False


async def _rows(url: str, statement: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


async def test_compose_starts_redis_with_the_users_of_private_servers(tmp_path: Path) -> None:
    if packages.missing():
        pytest.skip("the servers' programs are not on this machine")
    port, acl = free_port(), tmp_path / "users.acl"
    passwords = {user: f"of {user}" for user in redis_users.RULES}
    names = {"tidemark": "REDIS_PASSWORD"}
    environ = {names.get(user, f"REDIS_{user.upper()}_PASSWORD"): password for user, password in passwords.items()}
    process = await asyncio.create_subprocess_exec(
        *(ROOT / "deploy/redis/start.sh", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path)),
        env={"PATH": os.environ["PATH"], "TIDEMARK_ACL_FILE": str(acl), **environ},
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(30):
            while not await _answers(port, passwords["tidemark"]):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
        assert acl.read_text() == redis_users.acl(passwords)
        assert acl.stat().st_mode & 0o077 == 0
        arguments = await asyncio.to_thread(Path(f"/proc/{process.pid}/cmdline").read_text)
        assert not any(password in arguments for password in passwords.values())
    finally:
        process.kill()
        await process.wait()
