"""``tidemark credentials rotate`` on real servers: the new password is in the file and let in, the old one is not, and the audit has it."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest
from redis.asyncio import Redis

from deploy.broker.management import Management
from deploy.credentials.accounts import Account, Server
from deploy.credentials.passwords import is_let_in
from deploy.credentials.rotation import RotationError, rotate
from deploy.keys.store import operations_database
from deploy.servers.provide import Servers
from shared.messaging.permissions import EVERYTHING, Permissions
from shared.runtime.roles import READER
from shared.runtime.settings import Settings
from tests.integration.test_rotated_credentials import with_password

pytestmark = pytest.mark.timeout(90)

RECORDED = "SELECT actor, reason, details::text FROM audit WHERE act = 'credential-rotated' AND details ->> 'user' = $1"


def login(url: str, user: str, password: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{user}:{password}@{parts.netloc.rpartition('@')[2]}").geturl()


@pytest.fixture
async def account(
    request: pytest.FixtureRequest, servers: Servers, migrated: Settings, tmp_path: Path
) -> AsyncIterator[Account]:
    """One of the test's own at the server that its parameter names."""
    server, user = request.param, f"rotated_{uuid4().hex[:8]}"
    async with AsyncExitStack() as stack:
        match server:
            case Server.POSTGRESQL:
                if servers.private is None:
                    pytest.skip("only a superuser makes roles")
                admin = await asyncpg.connect(servers.private.postgres.admin_url())
                stack.push_async_callback(admin.close)
                await admin.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'first' IN ROLE {READER}")
                await admin.execute(f"ALTER ROLE {user} SET default_transaction_read_only = on")
                stack.push_async_callback(admin.execute, f"DROP ROLE {user}")
                setting, url = "summary_db_url", servers.stores["summary"]
            case Server.RABBITMQ:
                if not migrated.rabbitmq_management_url:
                    pytest.skip("these servers have no management API")
                management = Management(migrated.rabbitmq_management_url)
                await management.put({user: Permissions(EVERYTHING, EVERYTHING, EVERYTHING, {})}, {user: "first"})
                stack.push_async_callback(management.delete, user)
                setting, url = "rabbitmq_url", servers.rabbitmq_url
            case _:
                owner: Any = await stack.enter_async_context(Redis.from_url(servers.stores["analytics"]))
                await owner.execute_command("ACL", "SETUSER", user, "on", ">first", "~*", "+ping", "+hello", "+auth")
                stack.push_async_callback(owner.execute_command, "ACL", "DELUSER", user)
                setting, url = "analytics_redis_url", servers.stores["analytics"]
        url = login(url, user, "first")
        (tmp_path / "url").write_text(f"{url}\n")
        address = urlsplit(url).netloc.rpartition("@")[2]
        yield Account("summary", server, user, address, setting, {tmp_path / "url": url})


@pytest.mark.parametrize("account", list(Server), indirect=True)
async def test_a_password_is_replaced_at_the_server_and_in_the_file(
    account: Account, migrated: Settings, tmp_path: Path
) -> None:
    old = account.url
    (done,) = await rotate(migrated, [account], actor="ann", reason="quarterly")
    assert (tmp_path / "url").read_text() == f"{done.url}\n"
    assert with_password(done.url, "first") == old
    assert await is_let_in(account, done.url)
    assert not await is_let_in(account, old)
    async with operations_database(migrated) as operations:
        (row,) = await operations.fetch(RECORDED, account.user)
    assert (row["actor"], row["reason"]) == ("ann", "quarterly")
    assert json.loads(row["details"]) == {
        "deployable": "summary",
        "server": account.server.value,
        "user": account.user,
        "address": account.address,
    }


@pytest.mark.parametrize("account", list(Server), indirect=True)
async def test_where_the_file_s_password_is_not_the_server_s_nothing_is_changed(
    account: Account, migrated: Settings, tmp_path: Path
) -> None:
    wrong = with_password(account.url, "wrong")
    (tmp_path / "url").write_text(wrong)
    account.urls = {tmp_path / "url": wrong}
    with pytest.raises(RotationError, match=r"refuses the password in .*url: set it there first"):
        await rotate(migrated, [account], actor="ann", reason="")
    assert (tmp_path / "url").read_text() == wrong
    assert await is_let_in(account, with_password(wrong, "first"))
