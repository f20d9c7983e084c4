"""API keys on a real operations database: what `tidemark keys` does is what the services know, soon, and through outages."""

import asyncio
import os
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from deploy.keys import store
from deploy.keys.local import SUBJECT, ready_key
from shared.http.identities.api_keys import ApiKey, generate, parse
from shared.http.identities.guard import CredentialsUncheckedError, UnauthorisedError
from shared.http.identities.key_cache import CURRENT_S, KEPT_S, ApiKeyCache
from shared.runtime.settings import Settings
from shared.views.operations import SCHEMA
from tests.integration.program import Program
from tests.proxy import Proxy

KEYS = Program("keys")
HOUR = timedelta(hours=1)


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def subject() -> str:
    return f"shop-{secrets.token_hex(4)}"


@pytest.fixture
async def db(migrated: Settings) -> AsyncIterator[asyncpg.Connection]:
    session = {"search_path": f"{SCHEMA}, public"}
    connection = await asyncpg.connect(migrated.operations_db_url, server_settings=session)
    yield connection
    await connection.close()


@pytest.fixture
async def cache(migrated: Settings) -> AsyncIterator[ApiKeyCache]:
    made = ApiKeyCache(migrated.operations_db_url)
    yield made
    await made.close()


async def made(db: asyncpg.Connection, subject: str, lifetime: timedelta | None = HOUR) -> ApiKey:
    new = await store.create(db, subject, ["queries:orders"], lifetime, actor="ann", reason="a test")
    return new.key


async def trail(db: asyncpg.Connection, subject: str) -> list[tuple[str, str, str]]:
    rows = await db.fetch("SELECT act, actor, reason FROM audit WHERE details ->> 'subject' = $1 ORDER BY id", subject)
    return [tuple(row) for row in rows]


async def soon(holds: Callable[[], Awaitable[bool]], seconds: float = 30) -> None:
    for _ in range(int(seconds / 0.02)):
        if await holds():
            return
        await asyncio.sleep(0.02)
    pytest.fail("it did not become so")


@asynccontextmanager
async def polling(cache: ApiKeyCache) -> AsyncIterator[None]:
    running = asyncio.create_task(cache.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def refuses(cache: ApiKeyCache, key: ApiKey) -> bool:
    try:
        await cache.identify(key, None)
    except UnauthorisedError:
        return True
    return False


async def test_a_new_key_is_known_at_once_and_its_secret_is_nowhere(
    db: asyncpg.Connection, cache: ApiKeyCache, subject: str
) -> None:
    key = await made(db, subject)
    identity = await cache.identify(key, "ann")
    assert (identity.subject, identity.behind) == (subject, "ann")
    assert identity.scopes == {"queries:orders"}
    for table in ("api_keys", "audit"):
        rows = await db.fetchval(f"SELECT string_agg(t::text, '') FROM {table} t")  # noqa: S608
        assert key.id in rows
        assert key.secret not in rows
        assert key.secret.encode().hex() not in rows


async def test_a_wrong_secret_an_unknown_id_and_an_expired_key_are_refused(
    db: asyncpg.Connection, cache: ApiKeyCache, subject: str, migrated: Settings
) -> None:
    key = await made(db, subject)
    await cache.identify(key, None)
    for wrong in (ApiKey(key.id, generate().secret), generate()):
        with pytest.raises(UnauthorisedError):
            await cache.identify(wrong, None)
    short = await made(db, subject, timedelta(seconds=60))
    ahead = [0.0]
    other = ApiKeyCache(migrated.operations_db_url, now=lambda: time.time() + ahead[0])
    assert (await other.identify(short, None)).subject == subject
    ahead[0] = 61
    with pytest.raises(UnauthorisedError):
        await other.identify(short, None)
    await other.close()


async def test_a_revoked_key_is_refused_within_seconds_and_another_of_the_same_subject_goes_on(
    db: asyncpg.Connection, cache: ApiKeyCache, subject: str
) -> None:
    first, second = await made(db, subject), await made(db, subject)
    async with polling(cache):
        await cache.identify(first, None)
        loop = asyncio.get_running_loop()
        await store.revoke(db, first.id, actor="bob", reason="lost")
        began = loop.time()
        await soon(lambda: refuses(cache, first))
        assert loop.time() - began < CURRENT_S + 5  # on a machine that is busy
        assert (await cache.identify(second, None)).subject == subject
    assert await trail(db, subject) == [
        ("create-key", "ann", "a test"),
        ("create-key", "ann", "a test"),
        ("revoke-key", "bob", "lost"),
    ]


async def test_made_up_keys_cause_few_reads(migrated: Settings) -> None:
    clock = Clock()
    cache = ApiKeyCache(migrated.operations_db_url, clock=clock)
    reads = 0
    real = cache._read_now

    async def counted() -> Any:
        nonlocal reads
        reads += 1
        return await real()

    cache._read_now = counted  # type: ignore[method-assign]
    for _ in range(3):
        clock.seconds += 1
        results = await asyncio.gather(*(cache.identify(generate(), None) for _ in range(100)), return_exceptions=True)
        assert all(isinstance(result, UnauthorisedError) for result in results)
    assert reads == 3
    await cache.close()


async def test_an_outage_locks_nobody_out_at_once_and_lets_nobody_in(
    db: asyncpg.Connection, migrated: Settings, subject: str
) -> None:
    clock = Clock()
    async with Proxy(migrated.operations_db_url).running() as proxy:
        cache = ApiKeyCache(proxy.url, clock=clock)
        known = await made(db, subject)
        await cache.identify(known, None)
        proxy.down()
        created_meanwhile = await made(db, subject)
        clock.seconds += KEPT_S - 1
        assert (await cache.identify(known, None)).subject == subject
        with pytest.raises(UnauthorisedError):
            await cache.identify(ApiKey(known.id, generate().secret), None)
        for unknown in (created_meanwhile, generate()):
            with pytest.raises(CredentialsUncheckedError):
                await cache.identify(unknown, None)
        clock.seconds += 2
        with pytest.raises(CredentialsUncheckedError):
            await cache.identify(known, None)
        proxy.up()
        clock.seconds += 1
        assert await cache._read() is None
        assert (await cache.identify(known, None)).subject == subject
        assert (await cache.identify(created_meanwhile, None)).subject == subject
        await cache.close()


async def test_an_outage_is_said(migrated: Settings) -> None:
    async with Proxy(migrated.operations_db_url).running() as proxy:
        proxy.down()
        cache = ApiKeyCache(proxy.url)

        async def troubled() -> bool:
            return "reading API keys from the operations database" in (cache.trouble or "")

        async def well() -> bool:
            return cache.trouble is None

        async with polling(cache):
            await soon(troubled)
            proxy.up()
            await soon(well)
        await cache.close()


async def test_a_subject_has_two_live_keys_and_no_third_however_many_ask_at_once(
    db: asyncpg.Connection, migrated: Settings, subject: str
) -> None:
    async def another() -> bool:
        async with store.operations_database(migrated) as connection:
            try:
                await made(connection, subject)
            except store.KeysError:
                return False
            return True

    assert sum(await asyncio.gather(*(another() for _ in range(6)))) == 2
    [first, _] = await store.listed(db, subject, 10, everything=False)
    await store.revoke(db, first["id"], actor="ann", reason="")
    assert await another()
    assert len(await store.listed(db, subject, 10, everything=True)) == 3


async def test_a_rotation_leaves_both_keys_valid_for_the_overlap(
    db: asyncpg.Connection, cache: ApiKeyCache, subject: str
) -> None:
    old = await made(db, subject)
    new = await store.rotate(db, old.id, None, timedelta(seconds=2), actor="ann", reason="yearly")
    assert (new.subject, new.scopes, new.expires_at) == (subject, ["queries:orders"], None)
    both = [await cache.identify(old, None), await cache.identify(new.key, None)]
    assert len({(one.subject, one.scopes) for one in both}) == 1
    with pytest.raises(store.KeysError, match="has 2 keys"):
        await store.rotate(db, new.key.id, None, HOUR, actor="ann", reason="")
    await soon(lambda: refuses(cache, old))
    assert (await cache.identify(new.key, None)).subject == subject
    with pytest.raises(store.KeysError, match="is expired"):
        await store.rotate(db, old.id, None, HOUR, actor="ann", reason="")
    assert [act for act, _, _ in await trail(db, subject)] == ["create-key", "rotate-key"]


async def test_nothing_is_created_without_its_line_in_the_audit(
    db: asyncpg.Connection, migrated: Settings, subject: str
) -> None:
    async with store.operations_database(migrated) as blocked:
        await blocked.execute("SET lock_timeout = '100ms'")
        async with db.transaction():
            await db.execute("LOCK TABLE audit IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(asyncpg.LockNotAvailableError):
                await made(blocked, subject)
    assert await store.listed(db, subject, 10, everything=True) == []


@pytest.fixture
def environ(migrated: Settings) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("TIDEMARK_")}


async def test_the_command_line_creates_lists_rotates_and_revokes(
    environ: dict[str, str], cache: ApiKeyCache, subject: str
) -> None:
    async with polling(cache):
        said = await KEYS.run(
            "create", subject, "--scope", "commands:orders.*", "--scope", "queries:orders", environ=environ
        )
        assert said.exit_code == 0, said.output
        key = parse(said.stdout.strip())
        assert key is not None
        assert "not shown again" in said.stderr
        assert (await cache.identify(key, None)).scopes == {"commands:orders.*", "queries:orders"}
        [listed] = (await KEYS.json_of("list", "--subject", subject, environ=environ))["items"]
        assert (listed["id"], listed["state"], listed["scopes"]) == (
            key.id,
            "live",
            ["commands:orders.*", "queries:orders"],
        )
        assert "digest" not in listed
        rotated = await KEYS.json_of("rotate", key.id, "--overlap", "0s", "--expires", "never", environ=environ)
        assert (rotated["subject"], rotated["expires_at"]) == (subject, None)
        await soon(lambda: refuses(cache, key))
        shown = await KEYS.said("list", "--subject", subject, "--all", environ=environ)
        assert re.search(rf"{key.id} .*expired", shown)
        assert key.secret not in shown
        text = await KEYS.said("revoke", rotated["id"], "--reason", "found in a log", environ=environ)
        assert "is revoked" in text
        await soon(lambda: refuses(cache, parse(rotated["key"]) or generate()))
        await KEYS.refused("revoke", rotated["id"], code=1, says="was revoked at", environ=environ)
        await KEYS.refused("revoke", "nothing", code=1, says="there is no key nothing", environ=environ)
        await KEYS.refused("rotate", rotated["id"], code=1, says="is revoked", environ=environ)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("create", "shop", "--scope", "orders"), "they begin with commands"),
        (("create", "shop", "--scope", "queries:order"), "queries has accounts"),
        (("create", "operator", "--scope", "*"), "one of Tidemark's own"),
        (("create", "Tidemark/relay", "--scope", "*"), "one of Tidemark's own"),
        (("create", "", "--scope", "*"), "SUBJECT"),
        (("create", "x" * 201, "--scope", "*"), "SUBJECT"),
        (("create", "shop", "--scope", "*", "--expires", "soon"), "--expires: 'soon' is no duration"),
        (("create", "shop"), "--scope"),
        (("create", "shop", "--role", "boss"), "there is no role 'boss'; there are viewer, operator, approver, admin"),
        (("rotate", "x", "--overlap", "1w"), "--overlap: '1w' is no duration"),
    ],
)
async def test_wrong_use_is_refused_before_anything_is_written(
    environ: dict[str, str], arguments: tuple[str, ...], says: str
) -> None:
    await KEYS.refused(*arguments, code=2, says=says, environ=environ)


async def test_scopes_are_listed_without_a_database() -> None:
    found = (await KEYS.json_of("scopes", environ={"TIDEMARK_OPERATIONS_DB_URL": ""}))["items"]
    assert {"scope": "dead-letters:discard", "allows": "discard dead letters"} in found


async def test_the_ready_key_is_made_once_kept_for_its_owner_alone_and_replaced_if_it_is_not_valid(
    db: asyncpg.Connection, migrated: Settings, tmp_path: Any, cache: ApiKeyCache
) -> None:
    path = tmp_path / "kept" / "api_key"
    key, is_new = await ready_key(migrated, path)
    assert is_new
    assert path.stat().st_mode & 0o777 == 0o600
    assert (await cache.identify(key, None)).may("dead-letters:discard")
    assert await ready_key(migrated, path) == (key, False)
    await store.revoke(db, key.id, actor="ann", reason="")
    other, is_new = await ready_key(migrated, path)
    assert (is_new, other != key) == (True, True)
    path.write_text("not a key")
    for _ in range(3):
        path.unlink(missing_ok=True)
        last, is_new = await ready_key(migrated, path)
        assert is_new
    live = await store.listed(db, SUBJECT, 10, everything=False)
    assert [one["id"] for one in live] == [last.id]
