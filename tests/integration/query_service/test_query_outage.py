"""A store that is down takes its own routes with it and no other, and comes back by itself."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx
import pytest

from deploy.servers.ports import free_port
from deploy.servers.provide import Servers
from query_service.app import create_app
from query_service.http.requests import Stores
from query_service.stores.port import PAUSE_S
from query_service.stores.postgres_store import PostgresStore
from query_service.stores.redis_store import RedisStore

pytestmark = pytest.mark.usefixtures("shop")


class Relay:
    """Stands before PostgreSQL: passes everything on, refuses everyone, or takes connections and says nothing."""

    def __init__(self, host: str, port: int) -> None:
        self._behind = host, port
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.silent = False
        self.port = free_port()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def close(self) -> None:
        if self._server:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            there, back = await asyncio.open_connection(*self._behind)
            with contextlib.closing(back):
                await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if self.silent:
                await asyncio.Event().wait()
            writer.write(data)
        writer.close()


@pytest.fixture
async def relay(query_urls: tuple[str, str]) -> AsyncIterator[Relay]:
    parts = urlsplit(query_urls[1])
    relay = Relay(str(parts.hostname), parts.port or 5432)
    yield relay
    await relay.close()


@pytest.fixture
async def behind(servers: Servers, query_urls: tuple[str, str], relay: Relay) -> AsyncIterator[httpx.AsyncClient]:
    """The service with its summary store behind the relay, which is closed at first, and without any Redis."""
    parts = urlsplit(query_urls[1])
    through = parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{relay.port}").geturl()
    stores = Stores(
        PostgresStore("summary", through, "summary"),
        PostgresStore("search", query_urls[1], "search"),
        RedisStore("analytics", f"redis://127.0.0.1:{free_port()}"),
    )
    transport = httpx.ASGITransport(app=create_app(stores))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://query") as client:
        yield client
    await stores.close()


async def test_a_store_that_is_down_takes_only_its_own_routes_with_it(behind: httpx.AsyncClient) -> None:
    for path, store in (("/orders/o01", "summary"), ("/orders", "summary"), ("/analytics/customers", "analytics")):
        answer = await behind.get(path)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"] == f"the {store} store is unavailable: it cannot be reached; try again"
    assert (await behind.get("/search/products?q=milk")).status_code == 200
    assert (await behind.get("/health/live")).status_code == 200
    ready = await behind.get("/health/ready")
    assert ready.status_code == 503
    assert ready.json()["detail"] == "summary: it cannot be reached; analytics: it cannot be reached"


async def test_freshness_says_which_store_is_down_and_how_far_the_others_are(behind: httpx.AsyncClient) -> None:
    answer = await behind.get("/freshness")
    summary, analytics, search = answer.json()["projections"]
    assert summary == {"projection": "summary", "error": "it cannot be reached"}
    assert analytics == {"projection": "analytics", "error": "it cannot be reached"}
    assert (search["projection"], search["as_of"], search["events_applied"]) == (
        "search",
        "2026-03-09T09:30:00.250000Z",
        42,
    )
    assert search["lag_seconds"] > 0
    assert search["held"] == 0
    assert answer.headers["tidemark-as-of"] == search["as_of"]


async def test_a_store_that_comes_back_is_used_again(behind: httpx.AsyncClient, relay: Relay) -> None:
    assert (await behind.get("/orders/o01")).status_code == 503
    for _ in range(2):
        await relay.open()
        await asyncio.sleep(PAUSE_S)
        answers = await asyncio.gather(*(behind.get(f"/orders/o{number:02}") for number in range(30)))
        assert {answer.status_code for answer in answers} == {200}
        await relay.close()
        assert (await behind.get("/orders/o01")).status_code == 503


async def test_a_store_that_says_nothing_is_given_up_in_time(
    behind: httpx.AsyncClient, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("query_service.stores.postgres_store.DEADLINE_S", 0.3)
    await relay.open()
    assert (await behind.get("/orders/o01")).status_code == 200
    relay.silent = True
    async with asyncio.timeout(2):
        answers = await asyncio.gather(*(behind.get(f"/orders/o{number:02}") for number in range(30)))
    assert {answer.status_code for answer in answers} == {503}
    relay.silent = False
    await asyncio.sleep(PAUSE_S)
    assert (await behind.get("/orders/o01")).status_code == 200


async def test_a_store_without_tables_is_a_store_that_is_down(servers: Servers, query_urls: tuple[str, str]) -> None:
    store = PostgresStore("summary", query_urls[1], "nowhere")
    stores = Stores(store, store, RedisStore("analytics", servers.reader_stores["analytics"]))
    transport = httpx.ASGITransport(app=create_app(stores))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://query") as client:
        answer = await client.get("/products/milk")
    assert (answer.status_code, "tables have not been created" in answer.json()["detail"]) == (503, True)
    await stores.close()


async def test_an_error_of_ours_is_logged_and_not_told(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("query_service.routes.shop.products.PRODUCT", "SELECT 1/0 AS secret, $1::text")
    answer = await client.get("/products/milk")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "division" not in answer.text
    assert "secret" not in answer.text
    assert "division by zero" in caplog.text
