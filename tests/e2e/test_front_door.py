"""One port for everything, over TLS: commands, queries, event streams; while services are killed and the gateway reloads."""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import psutil
import pytest

from deploy.demo.system import settings_for
from deploy.gateway.__main__ import NAME
from deploy.keys import store
from deploy.run.deployables import program
from deploy.run.supervisor import Supervisor
from deploy.servers.ports import free_port
from tests.e2e.system import System
from tests.front_door import HOST, Gateway, certificates, running_gateway
from tests.integration.serving.test_leaving import UPGRADE

pytestmark = pytest.mark.timeout(300)

BACK_WITHIN_S = 60.0
LISTENERS = 50


@dataclass(frozen=True)
class Door:
    """The gateway, before two query services and a command service; each of ``services`` can be killed."""

    gateway: Gateway
    services: Supervisor
    second_query: Supervisor
    key: dict[str, str]
    system: System

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.gateway.client.get(path, headers=self.key | headers)

    async def send(self, type_: str, data: dict[str, Any], **headers: str) -> httpx.Response:
        wanted = {"Prefer": "wait=20", **headers}
        return await self.gateway.client.post(f"/commands/{type_}", json=data, headers=self.key | wanted)

    async def register(self, **headers: str) -> tuple[str, httpx.Response]:
        """A new customer's id, and the answer."""
        customer = f"door-{uuid4().hex}"
        return customer, await self.send(
            "customers.register-customer", {"customer_id": customer, "name": "Ann"}, **headers
        )

    async def listen(self, query: str, *, web_socket: bool = False) -> asyncio.StreamReader:
        """An event stream whose head has been read; the caller closes nothing: it ends with the gateway."""
        path = f"/events{'/ws' if web_socket else ''}{query}"
        lines = [f"GET {path} HTTP/1.1", f"Host: {HOST}", f"Authorization: {self.key['Authorization']}"]
        reader, _ = await self.gateway.connect("\r\n".join([*lines, *([UPGRADE] if web_socket else []), "", ""]))
        async with asyncio.timeout(30):
            head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 " if web_socket else b"HTTP/1.1 200 "), head
        return reader


@pytest.fixture(scope="module")
async def door(system: System, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Door]:
    async with opened(system, tmp_path_factory.mktemp("door")) as door:
        yield door


@asynccontextmanager
async def opened(system: System, folder: Path) -> AsyncIterator[Door]:
    async with store.operations_database(settings_for(system.servers)) as connection:
        scopes = ("commands:*", "queries:*")
        made = await store.create(
            connection, f"door-{uuid4().hex}", scopes, timedelta(hours=1), actor="tests", reason=""
        )
    ports = {name: free_port() for name in ("queries", "second", "commands")}
    own = {"TIDEMARK_AUTH": "on", "TIDEMARK_TRUSTED_PROXIES": "127.0.0.1", "TIDEMARK_ALLOWED_HOSTS": HOST}
    own |= {"TIDEMARK_QUERY_PORT": str(ports["queries"]), "TIDEMARK_COMMAND_PORT": str(ports["commands"])}
    own |= {"TIDEMARK_RATE_LIMIT": "0"}
    environ = {**os.environ, **own}
    second = environ | {"TIDEMARK_QUERY_PORT": str(ports["second"])}
    async with AsyncExitStack() as stack:
        output = stack.enter_context((folder / "services.log").open("w"))
        services = await stack.enter_async_context(Supervisor(output))
        second_query = await stack.enter_async_context(Supervisor(output))
        await services.start([program(name, system.servers, environ) for name in ("query", "http")])
        await second_query.start([program("query", system.servers, second)])
        gateway = await stack.enter_async_context(
            running_gateway(
                folder / "gateway.log",
                queries=f"127.0.0.1:{ports['queries']}",
                commands=f"127.0.0.1:{ports['commands']}",
                tls=certificates(folder),
                queries_2=f"127.0.0.1:{ports['second']}",
                requests_per_key=1_000_000,
                requests_per_address=1_000_000,
            )
        )
        await serving(gateway)
        yield Door(gateway, services, second_query, {"Authorization": f"Bearer {made.key}"}, system)


async def serving(gateway: Gateway) -> None:
    async with asyncio.timeout(BACK_WITHIN_S):
        while (await gateway.client.get("/health/serving")).status_code != 200:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)


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
    workers = {child.pid for child in haproxy_of(door).children()}
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
            door.gateway.reload()
            async with asyncio.timeout(BACK_WITHIN_S):
                while not {child.pid for child in haproxy_of(door).children()} - workers:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            workers |= {child.pid for child in haproxy_of(door).children()}
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


def haproxy_of(door: Door) -> psutil.Process:
    """HAProxy's master, the only child of its launcher."""
    [master] = psutil.Process(door.gateway.supervisor.pid(NAME)).children()
    return master


async def test_the_gateway_s_problems_are_like_those_of_the_services(door: Door) -> None:
    own, other = await door.get("/metrics"), await door.get("/nothing-here")
    assert own.json().keys() == other.json().keys()
    assert own.json()["code"] == other.json()["code"] == "no-such-route"
    assert json.loads(own.text)["instance"] == "/metrics"
