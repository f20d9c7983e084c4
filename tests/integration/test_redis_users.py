"""A user of Redis may do what its deployable does, with its own keys: everything else is refused by the server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, ResponseError

from deploy.servers.accounts.redis_users import EXPORTER, OWNER, READER, RULES, user_of
from deploy.servers.provide import Servers
from shared.read_models import READ_MODELS, StoreKind

MODELS = tuple(model.name for model in READ_MODELS if model.store is StoreKind.REDIS)
ANYTHING_ELSE = (
    "CONFIG GET maxmemory",
    "CONFIG SET maxmemory 1",
    "FLUSHALL",
    "FLUSHDB",
    "KEYS *",
    "SHUTDOWN NOSAVE",
    "ACL LIST",
    "ACL SETUSER mine on nopass +@all",
    "MONITOR",
    "SAVE",
    "BGREWRITEAOF",
    "CLIENT LIST",
    "CLIENT KILL TYPE normal",
    "SLOWLOG GET",
    "SCRIPT FLUSH",
    "FUNCTION FLUSH",
    "SWAPDB 0 1",
    "REPLICAOF NO ONE",
    "INFO",
    "PUBLISH analytics x",
    "SUBSCRIBE analytics",
    "GET other",
    "HGETALL other:positions",
    "SET other 1",
    "DEL other",
    "RENAME analytics:x analytics:y",
    "MIGRATE 127.0.0.1 1 analytics:x 0 1",
    "RESTORE analytics:x 0 x",
    "SORT analytics:x BY other:* GET other:*",
)
WRITES = (
    "SET analytics:x 1",
    "HSET analytics:x a 1",
    "DEL analytics:positions",
    "UNLINK analytics:positions",
    "ZADD analytics:due 1 x",
    "COPY analytics:x analytics:y",
    "EVAL return(1) 0",
    "EXPIRE analytics:x 1",
)


@asynccontextmanager
async def connected(servers: Servers, deployable: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(servers.url(deployable, "analytics_redis_url"), decode_responses=True) as redis:
        yield redis


@pytest.fixture(autouse=True)
def with_users(servers: Servers) -> None:
    if "//analytics:" not in servers.url("analytics", "analytics_redis_url"):
        pytest.skip("the deployables have no users of their own on these servers")


async def refused(redis: Redis, command: str) -> bool:
    try:
        await cast(Any, redis).execute_command(*command.split())
    except NoPermissionError:
        return True
    return False


@pytest.mark.parametrize(("deployable", "attempts"), [("analytics", ANYTHING_ELSE), ("query", ANYTHING_ELSE + WRITES)])
async def test_what_is_forbidden_is_refused(servers: Servers, deployable: str, attempts: tuple[str, ...]) -> None:
    async with connected(servers, deployable) as redis:
        for command in attempts:
            assert await refused(redis, command), command


async def test_a_script_reaches_no_keys_beyond_its_users(servers: Servers) -> None:
    async with connected(servers, "analytics") as redis:
        found = await cast(Any, redis).eval("return redis.call('HSET', KEYS[1], 'a', 1)", 1, "analytics_users:x")
        assert found == 1
        for script in (
            "return redis.call('GET', 'other')",
            "return redis.call('FLUSHALL')",
            "return redis.call('KEYS', '*')",
        ):
            with pytest.raises(ResponseError, match=r"can't run this command|access keys|permission"):
                await cast(Any, redis).eval(script, 0)
        await redis.unlink("analytics_users:x")


async def test_each_command_of_the_server_is_allowed_to_those_alone_who_need_it(servers: Servers) -> None:
    owner: Any = Redis.from_url(servers.stores["analytics"], decode_responses=True)
    async with owner:
        known = await owner.command()
        of = {name: set(await owner.acl_cat(name)) & known.keys() for name in ("dangerous", "read", "write")}
        for user in (*MODELS, READER):
            allowed = {name for name in set().union(*of.values()) if await _allowed(owner, user, name, known[name])}
            assert len(allowed) > 10
            assert not allowed & of["dangerous"]
            listed = {rule[1:] for rule in RULES[user].split() if rule.startswith("+") and "@" not in rule}
            assert allowed <= (of["read"] - of["write"] if user == READER else listed)


async def _allowed(owner: Any, user: str, command: str, details: Any) -> bool:
    arguments = ["analytics:x"] * (abs(details["arity"]) - 1)
    return "permissions to run" not in str(await owner.acl_dryrun(user, command, *arguments))


async def test_the_exporter_reads_the_server_s_figures_and_no_key(servers: Servers) -> None:
    owner: Any = Redis.from_url(servers.stores["analytics"], decode_responses=True)
    async with owner:
        for figures in ("INFO", "LATENCY LATEST", "SLOWLOG LEN"):
            assert await owner.acl_dryrun(EXPORTER, *figures.split()) == "OK", figures
        for command in (*ANYTHING_ELSE, *WRITES, "GET analytics:x", "HGETALL analytics:positions", "SCAN 0"):
            if command != "INFO":
                found = str(await owner.acl_dryrun(EXPORTER, *command.split()))
                assert "no permissions" in found, (command, found)


def test_each_deployable_has_a_user_of_its_own() -> None:
    assert set(RULES) == {OWNER, READER, EXPORTER, *MODELS}
    assert {user_of(name) for name in (*MODELS, "query")} == {*MODELS, READER}
