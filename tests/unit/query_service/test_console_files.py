"""The console's page as the query service serves it: from memory, with a strict policy, at every address of the page."""

import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from query_service.app import create_app
from query_service.http.console_files import ConsoleFiles
from query_service.http.requests import Stores

PAGE = b"<!doctype html><title>Tidemark</title>" + b"<p>text</p>" * 100
SCRIPT = b"export const answer = 42;"


@pytest.fixture
def built(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_bytes(PAGE)
    (tmp_path / "favicon.svg").write_bytes(b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    (tmp_path / "assets" / "index-5f0c2a9b.js").write_bytes(SCRIPT)
    return tmp_path


def client_of(console: ConsoleFiles | None) -> httpx.AsyncClient:
    app = create_app(Stores(), console=console)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://query")  # type: ignore[arg-type]


@pytest.fixture
async def client(built: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(ConsoleFiles(built)) as made:
        yield made


@pytest.mark.parametrize(
    "address", ["/console", "/console/", "/console/failures/17", "/console/streams/orders/a%2Fb?at=2026-03-01&at=x"]
)
async def test_every_address_of_the_page_answers_with_the_page(client: httpx.AsyncClient, address: str) -> None:
    answer = await client.get(address)
    assert (answer.status_code, answer.content) == (200, PAGE)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["content-encoding"] == "gzip"
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy.pop("img-src") == "'self' data:"
    assert {policy.pop(name) for name in ("script-src", "style-src", "font-src", "connect-src")} == {"'self'"}
    assert set(policy.values()) == {"'none'"}
    assert policy.keys() == {"default-src", "base-uri", "form-action", "frame-ancestors"}


async def test_assets_are_kept_for_ever_and_a_missing_one_is_no_page(client: httpx.AsyncClient) -> None:
    answer = await client.get("/console/assets/index-5f0c2a9b.js")
    assert (answer.content, answer.headers["content-type"]) == (SCRIPT, "text/javascript; charset=utf-8")
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    missing = await client.get("/console/assets/index-of-another-build.js")
    assert (missing.status_code, missing.json()["code"]) == (404, "no-such-route")
    outside = await client.get("/console/../app.py")
    assert outside.status_code == 404 or outside.content == PAGE


async def test_a_page_that_has_not_changed_is_not_sent_again(client: httpx.AsyncClient) -> None:
    for encoding in ("gzip", "identity"):
        first = await client.get("/console", headers={"Accept-Encoding": encoding})
        answer = await client.get("/console", headers={"If-None-Match": first.headers["etag"]})
        assert (answer.status_code, answer.content) == (304, b"")
        assert first.headers["vary"] == "Accept-Encoding"
    assert "content-encoding" not in first.headers
    refused = await client.get("/console", headers={"Accept-Encoding": "gzip;q=0, identity"})
    assert "content-encoding" not in refused.headers
    head = await client.head("/console")
    assert (head.status_code, head.content, int(head.headers["content-length"])) == (200, b"", len(gzip.compress(PAGE)))


async def test_the_page_learns_where_commands_go_and_may_connect_there(built: Path) -> None:
    async with client_of(ConsoleFiles(built, "http://127.0.0.1:8081")) as client:
        answer = await client.get("/console/config.json")
        assert answer.json() == {"commands_url": "http://127.0.0.1:8081", "sign_in": False}
        assert "connect-src 'self' http://127.0.0.1:8081;" in answer.headers["content-security-policy"]
    async with client_of(ConsoleFiles(built)) as client:
        assert (await client.get("/console/config.json")).json() == {"commands_url": "", "sign_in": False}
    with pytest.raises(ValueError, match="is not an origin"):
        ConsoleFiles(built, "http://127.0.0.1:8081/commands; script-src *")


async def test_a_console_that_is_off_or_not_built_is_not_there(tmp_path: Path) -> None:
    for console in (None, ConsoleFiles(tmp_path)):
        async with client_of(console) as client:
            for address in ("/console", "/console/failures", "/console/assets/x.js"):
                answer = await client.get(address)
                assert (answer.status_code, answer.json()["code"]) == (404, "no-such-route")
                assert answer.headers["content-type"] == "application/problem+json"
