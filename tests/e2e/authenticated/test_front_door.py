"""One port for everything, over TLS: commands, queries, event streams; while services are killed and the gateway reloads."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.e2e.authenticated.door import BACK_WITHIN_S, Door, opened_door
from tests.e2e.authenticated.secured import Secured
from tests.front_door import HOST

pytestmark = pytest.mark.timeout(300)

LISTENERS = 50


@pytest.fixture(scope="module")
async def door(secured: Secured, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Door]:
    async with opened_door(secured, tmp_path_factory.mktemp("door")) as door:
        yield door


async def test_commands_queries_and_event_streams_go_through_one_port(door: Door) -> None:
    events, socket = (
        await door.listen("?kind=customers&projection=summary"),
        await door.listen("?kind=customers&projection=summary", web_socket=True),
    )
    customer, accepted = await door.register(traceparent=f"00-{'c' * 32}-{'d' * 16}-01")
    assert accepted.status_code == 200, accepted.text
    token = accepted.headers["tidemark-consistency"]
    found = await door.get(f"/customers/{customer}", **{"Tidemark-Consistency": token, "Prefer": "wait=20"})
    assert (found.status_code, found.json()["name"]) == (200, "Ann")
    async with asyncio.timeout(30):
        assert f'"customers/{customer}"'.encode() in await events.readuntil(f'"customers/{customer}"'.encode())
        await socket.readuntil(f'"customers/{customer}"'.encode())
    writes = await asyncpg.connect(door.system.servers.write_db_url)
    try:
        envelope = await writes.fetchval("SELECT envelope FROM events WHERE stream = $1", f"customers/{customer}")
    finally:
        await writes.close()
    assert "c" * 32 in envelope
    assert (await door.gateway.client.get(f"/customers/{customer}")).status_code == 401
    assert (await door.gateway.client.get("/commands/none")).status_code == 401


async def test_every_route_of_both_services_is_reached(door: Door) -> None:
    """A path that went to the other service would be none there."""
    client = door.gateway.client
    paths = {"/events/ws"}
    for document in ("/schema/openapi.json", "/schema/commands/openapi.json"):
        paths |= set((await client.get(document)).json()["paths"])
    assert {"/commands/{command_type}", "/orders/{order_id}", "/contracts", "/dead-letters"} <= paths
    missed = []
    for path in sorted(paths):
        if path.startswith("/health"):
            continue
        concrete = "/".join("x" if part.startswith("{") else part for part in path.split("/"))
        answer = await client.options(concrete)
        if answer.status_code not in (204, 405) and not (path == "/events/ws" and answer.status_code == 404):
            missed.append((path, answer.status_code))
    assert not missed
    page = (await client.get("/schema/commands", headers={"Accept": "text/html"})).text
    assert 'href="/schema/commands/openapi.json"' in page
    assert f"{door.gateway.url}/commands/" in page


async def test_a_foreign_host_or_origin_is_refused_behind_the_gateway_too(door: Door) -> None:
    _, misdirected = await door.register(Host="evil.example")
    _, foreign = await door.register(Origin="https://evil.example")
    _, own = await door.register(Host=HOST, Origin=f"https://{HOST}")
    assert (misdirected.status_code, foreign.status_code, own.status_code) == (421, 403, 200)


async def test_a_killed_query_service_costs_no_answer_and_a_killed_command_service_none_of_the_queries(
    door: Door,
) -> None:
    statuses: Counter[int] = Counter()
    done = asyncio.Event()

    async def ask() -> None:
        while not done.is_set():
            statuses[(await door.get("/customers/none")).status_code] += 1

    asking = [asyncio.create_task(ask()) for _ in range(4)]
    try:
        await door.second_query.kill("query")
        await door.services.kill("http")
        began = time.monotonic()
        async with asyncio.timeout(BACK_WITHIN_S):
            while (await door.register())[1].status_code != 503:
                pass
        refused = (await door.register())[1]
        assert (refused.status_code, refused.json()["code"]) == (503, "service-unavailable")
        assert refused.headers["retry-after"] == "1"
        assert time.monotonic() - began < BACK_WITHIN_S
        await door.services.restart("http")
        async with asyncio.timeout(BACK_WITHIN_S):
            while (await door.register())[1].status_code != 200:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
        await door.second_query.restart("query")
        before = statuses[404]
        async with asyncio.timeout(BACK_WITHIN_S):
            while statuses[404] < before + 50:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    finally:
        done.set()
        await asyncio.gather(*asking)
    assert set(statuses) == {404}, statuses


async def test_a_reload_under_load_loses_no_request_and_no_event_stream(door: Door) -> None:
    readers = [await door.listen("?kind=customers&projection=summary") for _ in range(LISTENERS)]
    queried: Counter[int] = Counter()
    sent: Counter[int] = Counter()
    done = asyncio.Event()

    async def ask() -> None:
        while not done.is_set():
            # A connection of its own each time: reloads concern those that are made just then.
            answer = await door.get("/customers/none", Connection="close")
            queried[answer.status_code] += 1

    async def order() -> None:
        while not done.is_set():
            sent[(await door.register())[1].status_code] += 1

    loading = [asyncio.create_task(work()) for work in (ask, ask, ask, order, order)]
    try:
        for _ in range(3):
            await door.reload()
            before = queried.total(), sent.total()
            async with asyncio.timeout(BACK_WITHIN_S):
                while queried.total() < before[0] + 50 or sent.total() < before[1] + 5:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
    finally:
        done.set()
        await asyncio.gather(*loading)
    assert (set(queried), set(sent)) == ({404}, {200}), (queried, sent)
    customer, accepted = await door.register()
    assert accepted.status_code == 200
    wanted = f'"customers/{customer}"'.encode()
    async with asyncio.timeout(BACK_WITHIN_S):
        await asyncio.gather(*(reader.readuntil(wanted) for reader in readers))


async def test_the_gateway_s_problems_are_like_those_of_the_services(door: Door) -> None:
    own, other = await door.get("/metrics"), await door.get("/nothing-here")
    assert own.json().keys() == other.json().keys()
    assert own.json()["code"] == other.json()["code"] == "no-such-route"
    assert json.loads(own.text)["instance"] == "/metrics"
