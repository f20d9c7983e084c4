"""Both services as processes: what a page of others, a name of others, or a client without manners gets, over a real connection."""

import json
from typing import Any

import httpx
import pytest

from tests.integration.serving.conftest import KEY, Served, Start, answer
from tests.integration.serving.test_leaving import UPGRADE

JSON = {"Content-Type": "application/json"}
UNSAFE = {
    "http": ("POST", "/commands/customers.register-customer"),
    "query": ("POST", "/dead-letters/jobs/1/pause"),
}
OPERATOR = {"Authorization": f"Bearer {KEY}", "Tidemark-Actor": "ann"}


def problem(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json", response.text
    document: dict[str, Any] = response.json()
    assert document["status"] == response.status_code
    return response.status_code, document["code"]


@pytest.mark.parametrize("service", ["http", "query"])
async def test_what_a_foreign_page_or_name_asks_is_not_done(start: Start, service: str) -> None:
    method, path = UNSAFE[service]
    async with start(service) as served:

        async def ask(headers: dict[str, str], content: str = "") -> httpx.Response:
            return await served.client.request(method, path, headers=OPERATOR | headers, content=content)

        assert problem(await ask({"Host": "evil.example"})) == (421, "host-not-allowed")
        assert problem(await ask({"Origin": "https://evil.example"} | JSON, "{}")) == (403, "origin-not-allowed")
        assert problem(await ask({"Origin": "null"} | JSON, "{}")) == (403, "origin-not-allowed")
        # What a form or a script of another page can send without a preflight.
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
            assert problem(await ask({"Content-Type": kind} if kind else {}, "{}")) == (415, "unsupported-media-type")
        assert problem(await ask({"Content-Type": "application/json; charset=latin-1"}, "{}"))[0] == 415
        own = {"Origin": f"http://127.0.0.1:{served.port}", "Content-Type": "Application/JSON; charset=utf-8"}
        assert (await ask(own, '{"a": 1}')).status_code not in (403, 415, 421)
        assert served.log == ""


async def test_a_page_of_another_origin_opens_no_web_socket(start: Start) -> None:
    async with start("query", cors_origins="https://shop.example.org") as served:

        async def shake_hands(*lines: str) -> bytes:
            text = "\r\n".join(["GET /events/ws HTTP/1.1", UPGRADE, *lines])
            reader, writer = await served.send(f"{text}\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            writer.close()
            return head.split(b"\r\n")[0]

        assert b" 403 " in await shake_hands("Host: localhost", "Origin: https://evil.example")
        assert b" 421 " in await shake_hands("Host: evil.example", "Origin: https://evil.example")
        assert b" 101 " in await shake_hands("Host: localhost", "Origin: http://localhost")
        assert b" 101 " in await shake_hands("Host: localhost", "Origin: https://shop.example.org")
        assert b" 101 " in await shake_hands("Host: localhost")
        assert served.log == ""


@pytest.mark.parametrize("service", ["http", "query"])
async def test_heads_are_bounded_and_so_are_their_parts(start: Start, service: str) -> None:
    async with start(service) as served:
        assert problem(await served.client.get("/schema?q=" + "x" * 17_000)) == (414, "target-too-long")
        large = {"X-Large": "x" * 33_000}
        assert problem(await served.client.get("/schema", headers=large)) == (431, "headers-too-large")
        # Above the buffer the server answers by itself, without a document.
        assert (await served.client.get("/schema", headers={"X-Large": "x" * 100_000})).status_code == 431
        assert (
            await served.client.get("/schema", headers={f"X-{number}": "x" for number in range(200)})
        ).status_code == 431
        for text in ("GET /schema HTTP/1.1\r\n\r\n", "GET /schema HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n"):
            reader, writer = await served.send(text)
            status, _, document = await answer(reader, within_s=10)
            writer.close()
            assert (status, document["code"]) == (400, "invalid-host")
        assert (await served.client.get("/schema/openapi.json")).status_code == 200
        assert served.log == ""


async def test_json_is_bounded_and_means_one_thing(start: Start) -> None:
    """Depth, and keys that come twice: both services, every route with a body."""
    deep = "[" * 100_000 + "]" * 100_000
    twice = '{"customer_id": "c-1", "name": "Ann", "name": "Eve"}'
    routes = {
        "http": [
            UNSAFE["http"],
            ("PATCH", "/scheduled-commands/x"),
            ("POST", "/commands/devices.record-telemetry?subject=d"),
        ],
        "query": [("POST", f"/dead-letters/{verb}") for verb in ("replay", "discard", "edit")] + [UNSAFE["query"]],
    }
    for service, asked in routes.items():
        async with start(service) as served:
            for method, path in asked:
                for body in (
                    deep,
                    twice,
                    '{"x": ' + deep + "}",
                    '{"x": {"a": 1, "b": 2, "a": 3}}',
                    "{",
                    '"text"',
                    "\ufeff{}",
                ):
                    response = await served.client.request(method, path, headers=OPERATOR | JSON, content=body)
                    assert problem(response) == (400, "malformed-message"), (path, body[:60])
            at_most = json.dumps({"x": json.loads("[" * 198 + "]" * 198)})
            response = await served.client.post(asked[0][1], headers=OPERATOR | JSON, content=at_most)
            assert problem(response) == (422, "validation-failed")
            assert served.log == ""


async def test_answers_are_for_their_client_alone_and_keep_their_etags(start: Start) -> None:
    async with start("query") as served:
        first = await served.client.get("/freshness")
        assert first.headers["cache-control"] in ("private, no-cache", "no-store")
        response = await served.client.get("/orders")
        assert response.headers["cache-control"] == "private, no-cache"
        for name in ("x-content-type-options", "referrer-policy", "x-frame-options", "content-security-policy"):
            assert response.headers[name]
        again = await served.client.get("/orders", headers={"If-None-Match": response.headers["etag"]})
        assert (again.status_code, again.headers["etag"]) == (304, response.headers["etag"])
        assert again.headers["cache-control"] == "private, no-cache"


async def test_limits_by_address_count_the_client_that_a_trusted_proxy_names_and_nobody_else_may_name_one(
    start: Start,
) -> None:
    listen = "GET /events HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 203.0.113.%d\r\n\r\n"

    async def statuses(served: Served) -> list[bytes]:
        found, writers = [], []
        for number in range(4):
            reader, writer = await served.send(listen % number)
            writers.append(writer)
            found.append((await reader.readuntil(b"\r\n\r\n")).split(b" ")[1])
        for writer in writers:
            writer.close()
        return found

    async with start("query", listeners_per_client=2, trusted_proxies="127.0.0.1") as served:
        assert await statuses(served) == [b"200"] * 4
    async with start("query", listeners_per_client=2) as served:
        assert sorted(await statuses(served)) == [b"200", b"200", b"429", b"429"]


async def test_a_setting_that_is_malformed_is_one_clear_line(start: Start) -> None:
    async with start("query", fails=True, cors_origins="*") as served:
        [line] = served.log.splitlines()
        assert line.startswith("query: TIDEMARK_CORS_ORIGINS: '*' is not an origin")
