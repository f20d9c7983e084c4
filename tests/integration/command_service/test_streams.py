"""A stream's state and version exactly now, over HTTP: for those with the scope, never outdated, and with a reason where there is none."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest

from command_service.handling.handler import Handler
from command_service.http.ingress import create_app
from command_service.http.stream_reading import StreamReader
from command_service.http.streams import Streams
from shared.http.identities.credentials import Credentials
from shared.http.identities.key_cache import ApiKeyCache
from shared.runtime.settings import Settings
from tests.integration.command_service.test_handling import register, rename
from tests.integration.command_service.test_state_versions import OLD_STATE, PLACE, command

KEY = "open sesame"
WITH_KEY = {"Authorization": f"Bearer {KEY}"}


def client_of(url: str, key: str) -> tuple[httpx.AsyncClient, StreamReader]:
    reader = StreamReader(url)
    nowhere: Any = None
    credentials = Credentials(ApiKeyCache(url), operator_key=key)
    app: Any = create_app(nowhere, Streams(reader), authenticator=credentials)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://commands"), reader


@pytest.fixture
async def client(write_db: asyncpg.Connection, migrated: Settings) -> AsyncIterator[httpx.AsyncClient]:
    client, reader = client_of(migrated.write_db_url, KEY)
    async with client:
        yield client
    await reader.close()


async def test_the_state_and_its_version_are_those_of_the_last_command(
    handler: Handler, client: httpx.AsyncClient
) -> None:
    await handler.handle([register("k1", "c", "ann@example.org"), rename("k2", "c", "Bea")])
    answer = await client.get("/streams/customers/c", headers=WITH_KEY)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["stream"], found["version"]) == ("customers/c", 2)
    assert found["state"]["customer_id"] == "c"
    assert found["state"]["name"].startswith("tmk1:"), "personal texts are sealed: this service has no keys"
    assert answer.headers["etag"].startswith('"2-')
    assert answer.headers["tidemark-consistency"] == "customers/c@2"
    again = await client.get("/streams/customers/c", headers=WITH_KEY | {"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    await handler.handle([rename("k3", "c", "Cleo")])
    changed = await client.get("/streams/customers/c", headers=WITH_KEY | {"If-None-Match": answer.headers["etag"]})
    assert (changed.status_code, changed.json()["version"]) == (200, 3)
    assert changed.json()["state"]["name"] != found["state"]["name"]


async def test_the_events_of_a_stream_are_paged_and_as_of_a_time(handler: Handler, client: httpx.AsyncClient) -> None:
    await handler.handle([register("e1", "c", "ann@example.org"), rename("e2", "c", "Bea"), rename("e3", "c", "Cleo")])
    first = await client.get("/streams/customers/c/events?limit=2", headers=WITH_KEY)
    assert first.status_code == 200, first.text
    found = first.json()
    assert [(one["version"], one["command_id"]) for one in found["items"]] == [(1, "e1"), (2, "e2")]
    assert found["items"][0]["type"] == "customers.customer-registered"
    commands = [one["command"] for one in found["items"]]
    assert [one["command_type"] for one in commands] == ["customers.register-customer", "customers.rename-customer"]
    assert [one["outcome"]["data"]["version"] for one in commands] == [1, 2]
    assert {one["outcome"]["type"] for one in commands} == {"command.accepted"}
    assert found["next_after"] == 2
    rest = (await client.get("/streams/customers/c/events?limit=2&after=2", headers=WITH_KEY)).json()
    assert [one["version"] for one in rest["items"]] == [3]
    assert rest["next_after"] is None
    before = await client.get("/streams/customers/c/events?until=2001-01-01T00:00:00Z", headers=WITH_KEY)
    assert before.json()["items"] == []
    times = [one["time"] for one in found["items"]]
    then = await client.get("/streams/customers/c/events", params={"until": times[0]}, headers=WITH_KEY)
    assert [one["version"] for one in then.json()["items"]][:1] == [1]
    for path, status in (
        ("/streams/customers/nobody/events", 404),
        ("/streams/unicorns/c/events", 404),
        ("/streams/customers/c/events?until=yesterday", 400),
        ("/streams/customers/c/events?limit=1000", 400),
    ):
        assert (await client.get(path, headers=WITH_KEY)).status_code == status, path


async def test_an_event_whose_outcome_is_not_kept_any_more_has_no_command(
    handler: Handler, client: httpx.AsyncClient, write_db: asyncpg.Connection
) -> None:
    await handler.handle([register("f1", "c", "ann@example.org"), rename("f2", "c", "Bea")])
    await write_db.execute("DELETE FROM commands WHERE command_id = 'f1'")
    found = (await client.get("/streams/customers/c/events", headers=WITH_KEY)).json()["items"]
    assert [(one["version"], one["command"] is None) for one in found] == [(1, True), (2, False)]


async def test_a_stream_is_shown_as_it_was_at_a_time(handler: Handler, client: httpx.AsyncClient) -> None:
    await handler.handle([register("a1", "c", "ann@example.org"), rename("a2", "c", "Bea")])
    events = (await client.get("/streams/customers/c/events", headers=WITH_KEY)).json()["items"]
    await handler.handle([rename("a3", "c", "Cleo"), command("place", PLACE)])

    async def at(time: str, stream: str = "customers/c") -> httpx.Response:
        return await client.get(f"/streams/{stream}", params={"at": time}, headers=WITH_KEY)

    then = (await at(events[1]["time"])).json()
    assert (then["version"], then["state"]["name"]) == (2, events[1]["data"]["name"])
    order = (await client.get("/streams/orders/o", headers=WITH_KEY)).json()
    assert order["version"] == 1
    assert (await at("2100-01-01T00:00:00Z", "orders/o")).json() == order
    assert (await at("2100-01-01T00:00:00Z")).json()["version"] == 3
    assert (await at("2001-01-01T00:00:00Z")).json()["code"] == "stream-not-found"
    assert (await at("yesterday")).status_code == 400


async def test_outdated_state_is_replayed_and_left_as_it_is(
    handler: Handler, client: httpx.AsyncClient, write_db: asyncpg.Connection
) -> None:
    await handler.handle([command("place", PLACE)])
    before = (await client.get("/streams/orders/o", headers=WITH_KEY)).json()
    await write_db.execute(OLD_STATE, "orders/o")
    assert (await client.get("/streams/orders/o", headers=WITH_KEY)).json() == before
    assert await write_db.fetchval("SELECT state_version FROM streams") == 1


async def test_outdated_state_that_cannot_be_replayed_is_not_shown(
    handler: Handler, client: httpx.AsyncClient, write_db: asyncpg.Connection
) -> None:
    await handler.handle([command("place", PLACE)])
    await write_db.execute("UPDATE streams SET state_version = 0, version = 2")
    answer = await client.get("/streams/orders/o", headers=WITH_KEY)
    assert (answer.status_code, answer.json()["code"]) == (500, "state-unreadable")
    assert "has no event 2" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "headers", "status", "code", "says"),
    [
        ("/streams/invoices/i", WITH_KEY, 404, "unknown-kind", "customers, "),
        ("/streams/orders/a%2Fb", WITH_KEY, 400, "invalid-parameter", "128 letters"),
        ("/streams/orders/none", WITH_KEY, 404, "stream-not-found", "orders/none"),
        ("/streams/orders/none", {}, 401, "unauthorised", "Bearer"),
        ("/streams/orders/none", {"Authorization": "Bearer x"}, 401, "unauthorised", "not valid"),
        ("/streams/orders", WITH_KEY, 404, "no-such-route", ""),
    ],
)
async def test_what_cannot_be_shown_is_a_problem_that_says_why(
    client: httpx.AsyncClient, path: str, headers: dict[str, str], status: int, code: str, says: str
) -> None:
    answer = await client.get(path, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert says in answer.json()["detail"]


async def test_a_database_that_is_unavailable_is_a_503() -> None:
    client, reader = client_of("postgresql://nobody@127.0.0.1:1/none", KEY)
    async with client:
        answer = await client.get("/streams/orders/o", headers=WITH_KEY)
    await reader.close()
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "store-unavailable", "1")


async def test_the_documentation_says_what_is_needed_and_what_may_come(client: httpx.AsyncClient) -> None:
    document = (await client.get("/schema/openapi.json")).json()
    operation = document["paths"]["/streams/{kind}/{stream_id}"]["get"]
    assert operation["security"] == [{"credential": ["streams:read"]}]
    assert document["components"]["securitySchemes"]["credential"]["scheme"] == "bearer"
    of_any_request = {"414", "421", "429", "431"}
    assert operation["responses"].keys() == {"200", "304", "400", "401", "403", "404", "500", "503"} | of_any_request
    shape = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert document["components"]["schemas"][shape]["properties"].keys() == {"stream", "version", "state"}
