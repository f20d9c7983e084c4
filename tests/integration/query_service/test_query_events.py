"""Live updates from a real process: server-sent events and WebSocket, news over a real broker, and an end in time."""

import asyncio
import base64
import json
import os
import signal
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime

import httpx
import pytest

from deploy.servers.ports import free_port
from deploy.servers.provide import Servers
from shared.messages.changes import ADVANCED, Advanced
from shared.messages.changes import AdvancedMessage as Envelope
from shared.messages.envelope import CONTENT_TYPE
from shared.messaging import topology
from shared.messaging.broker import Outgoing, Publisher
from shared.runtime.settings import Settings
from tests.integration.query_service.test_query_process import ready, started
from tests.proxy import Proxy

pytestmark = pytest.mark.usefixtures("shop")

Tell = Callable[..., Awaitable[None]]
Event = dict[str, str]


@pytest.fixture
async def tell(migrated: Settings) -> AsyncIterator[Tell]:
    publisher = Publisher(migrated.rabbitmq_url, "tests")

    async def told(*streams: tuple[str, int], projection: str = "summary", generation: int = 1) -> None:
        news = Advanced(projection=projection, generation=generation, streams=streams)
        body = Envelope(id="n", source="tests", type=ADVANCED, time=datetime.now(UTC), data=news).model_dump_json()
        key = topology.advanced_key(projection)
        message = Outgoing(topology.CHANGES, key, body.encode(), CONTENT_TYPE, mandatory=False, durable=False)
        await publisher.publish(message)

    yield told
    await publisher.close()


class Service:
    def __init__(self, process: asyncio.subprocess.Process, client: httpx.AsyncClient, proxy: Proxy, port: int) -> None:
        self.process = process
        self.client = client
        self.proxy = proxy
        self.port = port

    @asynccontextmanager
    async def listening(self, query: str = "", **headers: str) -> AsyncIterator[AsyncIterator[Event]]:
        """Events and comments, from ``ready`` on, which is the first."""
        async with self.client.stream("GET", f"/events{query}", headers=headers) as answer:
            assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, "text/event-stream")
            async with aclosing(_events(answer)) as events:
                yield events


async def hears_news(service: Service) -> None:
    async with asyncio.timeout(20):
        while True:
            async with service.listening() as events:
                if json.loads((await anext(events))["data"])["news"]:
                    return
            await asyncio.sleep(0.05)


async def _events(answer: httpx.Response) -> AsyncGenerator[Event, None]:
    event: Event = {}
    async for line in answer.aiter_lines():
        name, _, value = line.partition(": ")
        if line.startswith(":"):
            event["comment"] = line[2:]
        elif line:
            event[name] = value
        else:
            yield event
            event = {}


async def following(events: AsyncIterator[Event]) -> Event:
    async with asyncio.timeout(10):
        return await anext(events)


def about(event: Event) -> tuple[str, str | None, int | None]:
    data = json.loads(event["data"])
    return event["event"], data.get("stream"), data.get("version")


@pytest.fixture(scope="module")
async def service(servers: Servers, query_urls: tuple[str, str], migrated: Settings) -> AsyncIterator[Service]:
    port = free_port()
    async with Proxy(migrated.rabbitmq_url).running() as proxy:
        environ = {
            "TIDEMARK_SUMMARY_DB_URL": query_urls[1],
            "TIDEMARK_SEARCH_DB_URL": query_urls[1],
            "TIDEMARK_TELEMETRY_DB_URL": query_urls[1],
            "TIDEMARK_ANALYTICS_REDIS_URL": servers.reader_stores["analytics"],
            "TIDEMARK_QUERY_PORT": str(port),
            "TIDEMARK_RABBITMQ_URL": proxy.url,
        }
        async with started(environ) as process:
            url = (await ready(process)).split()[-1]
            async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
                found = Service(process, client, proxy, port)
                await hears_news(found)
                yield found


async def test_what_is_told_on_the_bus_is_told_to_those_who_filter_for_it_and_can_be_gone_on_from(
    service: Service, tell: Tell
) -> None:
    async with (
        service.listening("?stream=orders/a&stream=orders/b&projection=summary") as one,
        service.listening("?kind=customers") as other,
    ):
        assert ((await following(one))["event"], (await following(other))["event"]) == ("ready", "ready")
        await tell(("orders/x", 1), ("orders/a", 2), ("customers/c", 3))
        await tell(("orders/a", 9), projection="search")
        await tell(("orders/a", 9), generation=2)
        await tell(("orders/b", 4))
        found = [await heard(one), await heard(one)]
        assert [about(event) for event in found] == [("advanced", "orders/a", 2), ("advanced", "orders/b", 4)]
        assert about(await heard(other)) == ("advanced", "customers/c", 3)
    for resumed in ({"Last-Event-ID": found[0]["id"]}, {}):
        query = "?stream=orders/b" + ("" if resumed else f"&last_event_id={found[0]['id']}")
        async with service.listening(query, **resumed) as again:
            assert "id" not in await following(again)
            assert about(await heard(again)) == ("advanced", "orders/b", 4)
    async with service.listening(**{"Last-Event-ID": "0000-1"}) as stranger:
        assert [(await following(stranger))["event"] for _ in range(2)] == ["ready", "reset"]


async def heard(events: AsyncIterator[Event]) -> Event:
    """The next event that is no comment and no reset: news may have come to begin only now."""
    while True:
        event = await following(events)
        if event.get("event") not in (None, "reset"):
            return event


async def test_while_the_broker_is_away_a_comment_says_so_and_afterwards_there_is_a_reset(
    service: Service, tell: Tell
) -> None:
    async with service.listening() as events:
        assert (await following(events))["event"] == "ready"
        service.proxy.cut()
        seen = [await following(events) for _ in range(2)]
        while seen[-1].get("event") != "reset":
            seen.append(await following(events))
        assert any("no change messages" in event.get("comment", "") for event in seen)
        await tell(("orders/afterwards", 1))
        assert about(await heard(events)) == ("advanced", "orders/afterwards", 1)


async def test_the_same_is_told_over_web_socket(service: Service, tell: Tell) -> None:
    reader, writer = await web_socket(service, "?kind=products")
    assert json.loads((await frame(reader))[1])["event"] == "ready"
    await tell(("orders/a", 1), ("products/p", 7))
    kind, text = await frame(reader)
    while json.loads(text)["event"] != "advanced":
        kind, text = await frame(reader)
    assert (kind, json.loads(text)["data"]["version"]) == (1, 7)
    writer.close()
    reader, writer = await web_socket(service, "?kind=cats")
    kind, reason = await frame(reader)
    assert (kind, int.from_bytes(reason[:2], "big")) == (8, 4400)
    assert reason[2:].startswith(b"kind: must be one of ")
    writer.close()


@pytest.mark.parametrize(
    "query", ["?kind=cats", "?projection=x", "?stream=orders", "?foo=1", "?kind=", "?last_event_id="]
)
async def test_what_no_filter_can_be_is_400(service: Service, query: str) -> None:
    answer = await service.client.get(f"/events{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


async def test_head_is_answered_and_ends(service: Service) -> None:
    async with asyncio.timeout(5):
        answer = await service.client.head("/events")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")


async def test_sigterm_ends_open_streams_in_time_also_of_those_who_do_not_read(service: Service, tell: Tell) -> None:
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.setblocking(False)
    await asyncio.get_running_loop().sock_connect(deaf, ("127.0.0.1", service.port))
    _, asking = await asyncio.open_connection(sock=deaf, limit=1)
    asking.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    _, writer = await web_socket(service, "?kind=products")
    async with service.listening("?kind=products") as events:
        assert (await following(events))["event"] == "ready"
        for number in range(60):
            await tell(*((f"orders/{'x' * 80}-{number}-{each}", 1) for each in range(1000)))
        waits = asyncio.create_task(
            service.client.get("/orders", headers={"Tidemark-Consistency": "orders/never@1", "Prefer": "wait=30"})
        )
        await asyncio.sleep(0.3)
        service.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(12):
            assert await service.process.wait() == 0
            async for _event in events:
                pass
            assert (await waits).status_code == 412
    for each in (asking, writer):
        each.close()


async def web_socket(service: Service, query: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """RFC 6455, as little of it as it takes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    key = base64.b64encode(os.urandom(16)).decode()
    asked = f"GET /events/ws{query} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    writer.write(f"{asked}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
    async with asyncio.timeout(10):
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Opcode and payload."""
    async with asyncio.timeout(10):
        first, length = await reader.readexactly(2)
        if length == 126:
            length = int.from_bytes(await reader.readexactly(2), "big")
        return first & 15, await reader.readexactly(length)
