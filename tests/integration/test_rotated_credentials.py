"""The password of a role of PostgreSQL, or of a user of Redis, is replaced at the server and in the file, in either order: no restart."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisConnectionError

from deploy.servers.provide import Servers
from projectors.models.analytics.connection import client
from query_service.stores.redis_store import RedisStore
from shared.runtime.connecting import current_url
from shared.runtime.postgres import Database, is_outage, reading
from shared.runtime.roles import READER
from shared.runtime.settings import Settings

pytestmark = pytest.mark.timeout(60)

FILE_IS_LATE_S = 0.5
TERMINATE = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = $1"


@dataclass
class Rotated:
    """A login of a test's own. ``url``: of the setting whose file has it. ``set_password``: at the server; ``end``: its connections."""

    url: str
    file: Path
    set_password: Callable[[str], Awaitable[None]]
    end: Callable[[], Awaitable[None]]

    def write(self, password: str) -> None:
        self.file.write_text(with_password(self.url, password))

    async def rotate(self, password: str, order: str, use: Callable[[], Awaitable[Any]]) -> Any:
        """What ``use`` gives while the file is before, or behind, the server; all its connections are ended before."""
        if order == "file first":
            self.write(password)
            await self.end()
            before = await use()
            await self.set_password(password)
            await self.end()
            assert before == await use()
            return before
        await self.set_password(password)
        await self.end()
        using = asyncio.create_task(asyncio.wait_for(use(), 20))
        await asyncio.sleep(FILE_IS_LATE_S)
        assert not using.done()
        self.write(password)
        return await using


def with_password(url: str, password: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{parts.username}:{password}@{host}").geturl()


def in_file(monkeypatch: pytest.MonkeyPatch, name: str, file: Path, url: str) -> str:
    file.write_text(url)
    monkeypatch.delenv(f"TIDEMARK_{name.upper()}", raising=False)
    monkeypatch.setenv(f"TIDEMARK_{name.upper()}_FILE", str(file))
    return Settings().require(name)


@pytest.fixture
async def role(servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rotated]:
    if servers.private is None:
        pytest.skip("only a superuser makes roles")
    admin = await asyncpg.connect(servers.private.postgres.admin_url())
    name = f"rotated_{uuid4().hex[:8]}"
    await admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'first' IN ROLE {READER}")
    url = urlsplit(servers.stores["summary"])
    url = url._replace(netloc=f"{name}:first@{url.netloc.rpartition('@')[2]}")
    found = in_file(monkeypatch, "write_db_url", tmp_path / "url", url.geturl())

    async def set_password(password: str) -> None:
        await admin.execute(f"ALTER ROLE {name} PASSWORD '{password}'")

    async def end() -> None:
        await admin.execute(TERMINATE, name)

    yield Rotated(found, tmp_path / "url", set_password, end)
    await end()
    await admin.execute(f"DROP ROLE {name}")
    await admin.close()


@pytest.mark.parametrize("order", ["file first", "server first"])
async def test_a_pool_of_postgresql_goes_on(role: Rotated, order: str) -> None:
    database = Database(role.url)

    async def user() -> str:
        return str(await (await database.pool()).fetchval("SELECT session_user"))

    try:
        before = await user()
        assert await role.rotate("second", order, lambda: reading(user)) == before
    finally:
        await database.close()


async def test_who_is_refused_for_longer_gets_the_refusal_and_counts_it_as_an_outage(
    role: Rotated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(current_url, "REFUSED_FOR_S", 0.5)
    role.write("wrong")
    database = Database(role.url)
    with pytest.raises(asyncpg.InvalidPasswordError) as refused:
        await database.pool()
    assert is_outage(refused.value)
    role.write("first")
    await database.pool()
    await database.close()


async def test_a_file_that_has_no_url_now_keeps_no_connection_from_being_made_again(role: Rotated) -> None:
    database = Database(role.url)
    pool = await database.pool()
    for text in ("", "postgresql://x:a/b@c/d", "\xff"):
        role.file.write_text(text)
        await role.end()
        assert await reading(lambda: pool.fetchval("SELECT 1")) == 1
    await database.close()
    current_url.forget()
    with pytest.raises(current_url.UnusableUrlError, match=r"^TIDEMARK_WRITE_DB_URL"):
        await Database(role.url).pool()


@pytest.fixture
async def user(servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rotated]:
    owner = Redis.from_url(servers.stores["analytics"])
    execute: Any = owner.execute_command
    name = f"rotated-{uuid4().hex[:8]}"
    await execute("ACL", "SETUSER", name, "on", ">first", "~*", "+@all")
    url = urlsplit(servers.stores["analytics"])
    host = url.netloc.rpartition("@")[2]
    found = in_file(
        monkeypatch, "analytics_redis_url", tmp_path / "url", url._replace(netloc=f"{name}:first@{host}").geturl()
    )

    async def set_password(password: str) -> None:
        await execute("ACL", "SETUSER", name, f">{password}", "<first")

    async def end() -> None:
        await execute("CLIENT", "KILL", "USER", name)

    yield Rotated(found, tmp_path / "url", set_password, end)
    await execute("ACL", "DELUSER", name)
    await owner.aclose()


@pytest.mark.parametrize("order", ["file first", "server first"])
async def test_a_projector_s_connection_to_redis_is_made_again(user: Rotated, order: str) -> None:
    redis: Any = client(user.url)

    async def name() -> str:
        try:
            return str(await redis.execute_command("ACL", "WHOAMI"))
        except RedisConnectionError:  # it was ended, and is made again by the next call
            return str(await redis.execute_command("ACL", "WHOAMI"))

    async with redis:
        before = await name()
        assert await user.rotate("second", order, name) == before


@pytest.mark.parametrize("order", ["file first", "server first"])
async def test_a_read_store_in_redis_answers_all_the_time(user: Rotated, order: str) -> None:
    store = RedisStore("analytics", user.url)
    try:
        await store.ping()
        await user.rotate("second", order, store.ping)
    finally:
        await store.close()


async def test_a_url_that_is_in_no_file_is_refused_at_once(servers: Servers) -> None:
    wrong = with_password(servers.stores["analytics"], "wrong")
    async with asyncio.timeout(current_url.REFUSED_FOR_S / 2):
        with pytest.raises(AuthenticationError):
            await client(wrong).ping()
