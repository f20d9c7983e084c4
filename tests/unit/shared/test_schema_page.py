"""The documentation as a page: complete, harmless whatever the document says, and only for who asks for a page."""

import json
import re
import shlex
from typing import Any

import httpx
import pytest

from command_service.http.ingress import create_app
from command_service.http.openapi import COMMAND_TYPE
from shared.contracts.registry import COMMANDS
from shared.http.schema_page.page import Page

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
OPENAPI = "application/vnd.oai.openapi+json"


async def get(path: str, **headers: str) -> httpx.Response:
    app: Any = create_app(None, None)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://here:8081") as client:
        return await client.get(path, headers=headers)


@pytest.mark.parametrize("accept", [BROWSER, "text/html", "text/html;q=0.9, application/json;q=0.5"])
async def test_who_asks_for_html_first_gets_a_page(accept: str) -> None:
    for path in ("/schema", "/schema/"):
        answer = await get(path, accept=accept)
        assert (answer.status_code, answer.headers["vary"]) == (200, "Accept")
        assert answer.headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(
    "accept", ["*/*", "application/json", OPENAPI, "application/json, text/html;q=0.5", "", ",;q=x"]
)
async def test_everybody_else_gets_the_document(accept: str) -> None:
    answer = await get("/schema", accept=accept)
    assert answer.headers["content-type"] == OPENAPI
    assert answer.json() == (await get("/schema/openapi.json", accept=BROWSER)).json()


async def test_the_page_needs_nothing_but_itself() -> None:
    answer = await get("/schema", accept=BROWSER)
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert not re.search(r"<(script|img|link|iframe|object)\b|\bon\w+=|\bstyle=|https?://(?!here:8081)", answer.text)


async def test_every_operation_every_command_and_every_schema_is_on_the_page() -> None:
    text = (await get("/schema", accept=BROWSER)).text
    document = (await get("/schema/openapi.json")).json()
    for path, item in document["paths"].items():
        assert f"<code>{path}</code>" in text
        for operation in item.values():
            assert f'id="{operation["operationId"]}"' in text
            for status in operation["responses"]:
                assert f"<code>{status}</code>" in text
    for name in COMMANDS:
        assert f"<h5>{name}</h5>" in text
    anchors = set(re.findall(r'id="([^"]+)"', text))
    assert {f"schema-{name}" for name in document["components"]["schemas"]} <= anchors
    assert set(re.findall(r'href="#([^"]+)"', text)) <= anchors


async def test_the_example_is_a_command_that_its_contract_accepts() -> None:
    document = (await get("/schema/openapi.json")).json()
    example = Page(document, "http://here:8081/")._curl(
        {**document["paths"]["/commands/{command_type}"]["post"], "path": "/commands/{command_type}", "method": "POST"}
    )
    words = shlex.split(example)
    assert words[:5] == ["curl", "-s", "-X", "POST", f"http://here:8081/commands/{COMMAND_TYPE}"]
    COMMANDS[COMMAND_TYPE].model_validate(json.loads(words[words.index("-d") + 1]))


def test_what_a_document_says_is_text_and_never_markup() -> None:
    evil = "<script>alert(1)</script>\"'`<b>`"
    schema = {
        "type": "object",
        "description": evil,
        "properties": {evil: {"type": evil, "enum": [evil], "description": evil}},
    }
    operation = {
        "tags": [evil],
        "summary": evil,
        "description": evil,
        "operationId": evil,
        "parameters": [{"name": evil, "in": evil, "description": evil, "schema": {"type": evil, "default": evil}}],
        "requestBody": {"content": {evil: {"schema": schema}}},
        "responses": {"200": {"description": evil, "content": {evil: {"schema": {"$ref": f"#/{evil}"}}}}},
    }
    document = {
        "info": {"title": evil, "description": evil},
        "paths": {f"/{evil}": {"get": operation}},
        "components": {"schemas": {evil: schema}},
    }
    text = Page(document, f"http://{evil}").html()
    assert "<script" not in text
    assert "<b>" not in text
    assert not re.search(r'="[^"<>]*<', text)
