"""Limits that each identity has for itself: requests a second, and event streams."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from uuid import uuid4

import httpx
import pytest

from deploy.keys import store
from shared.runtime.settings import Settings
from tests.integration.serving.conftest import Start, answer
from tests.integration.serving.test_leaving import UPGRADE

pytestmark = pytest.mark.timeout(400)

BURST = 5
SLOWLY = 0.01
"""So few a second that none is granted anew during a test."""


@pytest.fixture
async def keys(migrated: Settings) -> tuple[str, str]:
    """The keys of two services that may query, and send."""
    async with store.operations_database(migrated) as connection:
        made = [
            await store.create(
                connection,
                f"{name}-{uuid4().hex[:8]}",
                ("queries:*", "commands:*"),
                timedelta(hours=1),
                actor="tests",
                reason="",
            )
            for name in ("shop", "robot")
        ]
    first, second = (str(one.key) for one in made)
    return first, second


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def statuses(client: httpx.AsyncClient, path: str, headers: dict[str, str], count: int) -> list[int]:
    return [(await client.get(path, headers=headers)).status_code for _ in range(count)]


@pytest.mark.parametrize(("service", "path"), [("query", "/orders"), ("http", "/commands/none")])
async def test_who_asks_too_often_gets_429_and_nobody_else_does(
    start: Start, keys: tuple[str, str], service: str, path: str
) -> None:
    shop, robot = map(bearer, keys)
    async with start(service, auth="on", rate_limit=SLOWLY, rate_burst=BURST) as served:
        found = await statuses(served.client, path, robot, 2 * BURST)
        assert 429 not in found[:BURST]
        assert set(found[BURST:]) == {429}
        refused = await served.client.get(path, headers=robot)
        document = refused.json()
        assert refused.headers["content-type"] == "application/problem+json"
        assert (document["code"], document["status"], refused.headers["retry-after"]) == ("rate-limited", 429, "100")
        assert robot["Authorization"][-20:] not in refused.text
        # Others of the same address, those without a credential, and health checks go on.
        assert 429 not in await statuses(served.client, path, shop, BURST)
        assert await statuses(served.client, path, {}, 1) == [401]
        assert await statuses(served.client, "/health/live", robot, 3 * BURST) == [200] * 3 * BURST
        # What is public is counted by address, and so was the request without a credential.
        public = await statuses(served.client, "/schema/openapi.json", {}, 2 * BURST)
        assert (public.count(200), public.count(429)) == (BURST - 1, BURST + 1)
        assert served.log == ""


async def test_a_bucket_fills_again(start: Start, keys: tuple[str, str]) -> None:
    robot = bearer(keys[1])
    async with start("query", auth="on", rate_limit=2, rate_burst=1) as served:
        assert (await served.client.get("/orders", headers=robot)).status_code == 200
        async with asyncio.timeout(20):
            while (refused := await served.client.get("/orders", headers=robot)).status_code == 200:
                pass
            assert refused.status_code == 429
            await asyncio.sleep(int(refused.headers["retry-after"]))
            assert (await served.client.get("/orders", headers=robot)).status_code == 200


async def test_without_authentication_there_is_no_limit_unless_one_is_set(start: Start) -> None:
    async with start("query", rate_burst=1) as served:
        assert await statuses(served.client, "/orders", {}, 20) == [200] * 20
    async with start("query", rate_limit=SLOWLY, rate_burst=BURST) as served:
        assert (await statuses(served.client, "/orders", {}, 2 * BURST)).count(429) == BURST


async def test_event_streams_are_counted_for_each_identity_over_sse_and_web_socket_alike(
    start: Start, keys: tuple[str, str]
) -> None:
    async with start("query", auth="on", listeners_per_client=2) as served, AsyncExitStack() as stack:

        async def listen(key: str, *, web_socket: bool) -> asyncio.StreamReader:
            head = [
                f"GET /events{'/ws' if web_socket else ''} HTTP/1.1",
                "Host: localhost",
                f"Authorization: Bearer {key}",
                *([UPGRADE] if web_socket else []),
            ]
            reader, writer = await served.send("\r\n".join(head) + "\r\n\r\n")
            stack.callback(writer.close)
            return reader

        async def status(reader: asyncio.StreamReader) -> int:
            async with asyncio.timeout(10):
                return int((await reader.readuntil(b"\r\n\r\n")).split()[1])

        shop, robot = keys
        assert await status(await listen(robot, web_socket=True)) == 101
        assert await status(await listen(robot, web_socket=False)) == 200
        for web_socket in (True, False):
            code, headers, document = await answer(await listen(robot, web_socket=web_socket), within_s=10)
            assert (code, document["code"], headers["retry-after"]) == (429, "too-many-listeners", "10")
        assert await status(await listen(shop, web_socket=True)) == 101
        assert await status(await listen(shop, web_socket=False)) == 200
        assert served.log == ""


@pytest.mark.parametrize("service", ["query", "http"])
async def test_who_tries_credentials_that_are_none_is_counted_by_address(start: Start, service: str) -> None:
    path = "/orders" if service == "query" else "/commands/none"
    async with start(service, auth="on", rate_limit=SLOWLY, rate_burst=BURST) as served:
        guesses = [await served.client.get(path, headers=bearer(f"guess-{number}")) for number in range(2 * BURST)]
        assert [each.status_code for each in guesses] == [401] * BURST + [429] * BURST


async def test_an_event_stream_ends_once_its_key_is_revoked_and_others_go_on(start: Start, migrated: Settings) -> None:
    async with store.operations_database(migrated) as connection:
        made = [
            await store.create(connection, f"c-{uuid4().hex[:8]}", ("queries:*",), None, actor="tests", reason="")
            for _ in range(2)
        ]
        gone, stays = made
        async with start("query", auth="on") as served, AsyncExitStack() as stack:
            streams = []
            for one, upgrade in ((gone, ""), (gone, UPGRADE), (stays, "")):
                head = [
                    f"GET /events{'/ws' if upgrade else ''} HTTP/1.1",
                    "Host: localhost",
                    f"Authorization: Bearer {one.key}",
                    *([upgrade] if upgrade else []),
                ]
                reader, writer = await served.send("\r\n".join(head) + "\r\n\r\n")
                stack.callback(writer.close)
                async with asyncio.timeout(30):
                    assert (await reader.readuntil(b"\r\n\r\n")).split()[1] in (b"200", b"101")
                streams.append(reader)
            await store.revoke(connection, gone.key.id, actor="tests", reason="")
            async with asyncio.timeout(60):
                server_sent = await streams[0].readuntil(b"0\r\n\r\n")
                web_socket = await streams[1].readuntil(b"\x88\x02\x03\xe9")
            assert b"ready" in server_sent
            assert b"ready" in web_socket, "and then closed: 1001"
            assert b"0\r\n\r\n" not in bytes(streams[2]._buffer)  # type: ignore[attr-defined]
