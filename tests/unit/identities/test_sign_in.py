"""Signing in with an OpenID provider: a code becomes an access token that the services accept, or a refusal that says nothing of why."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest

from query_service.app import create_app
from query_service.sign_in import Client, SignIn
from shared.http.identities.jwks import Jwks
from shared.http.identities.tokens import TokenRules, TokenVerifier
from tests.issuer import AUDIENCE
from tests.oidc_provider import CLIENT, Provider, challenge, provider
from tests.unit.identities.test_routes import stores

BACK = "http://console.example/console/"
VERIFIER = "v" * 43
NOTHING_OF_WHY = "this sign-in is not accepted: begin again"


@asynccontextmanager
async def service(found: Provider, issuer: str = "") -> AsyncIterator[httpx.AsyncClient]:
    tokens = TokenVerifier(
        TokenRules(issuer or found.url, AUDIENCE, ["ES256"], 0), Jwks(f"{found.url}/jwks.json", ["ES256"])
    )
    app = create_app(stores(), sign_in=SignIn(Client(CLIENT, "", "openid"), issuer or found.url, tokens))
    transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://console.example") as client:
        yield client


@pytest.fixture
async def signing_in() -> AsyncIterator[tuple[Provider, httpx.AsyncClient]]:
    async with AsyncExitStack() as stack:
        found = await stack.enter_async_context(provider())
        yield found, await stack.enter_async_context(service(found))


def attempt(found: Provider, **other: Any) -> dict[str, Any]:
    """The page's request for a code that the provider has just given."""
    asked = {
        "client_id": CLIENT,
        "redirect_uri": BACK,
        "nonce": "n",
        "code_challenge": challenge(VERIFIER),
    }
    return {"code": found.code_for(asked), "code_verifier": VERIFIER, "nonce": "n", "redirect_uri": BACK, **other}


async def test_a_code_becomes_an_access_token_once(signing_in: tuple[Provider, httpx.AsyncClient]) -> None:
    found, client = signing_in
    offered = (await client.get("/console/sign-in")).json()
    assert offered["authorization_endpoint"] == f"{found.url}/authorization"
    assert offered["client_id"] == CLIENT
    body = attempt(found)
    answer = await client.post("/console/sign-in", json=body)
    assert answer.status_code == 200
    assert answer.json()["access_token"].count(".") == 2
    assert answer.headers["cache-control"] == "no-store"
    assert (await client.post("/console/sign-in", json=body)).status_code == 403


@pytest.mark.parametrize(
    ("wrong", "other"),
    [
        ("nonce", {}),
        ("audience", {}),
        ("client", {}),
        ("", {"nonce": "another"}),
        ("", {"code": "made up"}),
        ("", {"code_verifier": "w" * 43}),
        ("", {"redirect_uri": "http://other.example/"}),
    ],
)
async def test_what_does_not_fit_is_refused_without_saying_why(
    signing_in: tuple[Provider, httpx.AsyncClient], wrong: str, other: dict[str, str]
) -> None:
    found, client = signing_in
    found.wrong = wrong
    answer = await client.post("/console/sign-in", json=attempt(found, **other))
    assert answer.status_code == 403
    assert answer.json()["code"] == "sign-in-refused"
    assert answer.json()["detail"] == NOTHING_OF_WHY


async def test_a_body_that_is_no_attempt_is_invalid(signing_in: tuple[Provider, httpx.AsyncClient]) -> None:
    _, client = signing_in
    for body in ({}, {"code": "c", "code_verifier": "v", "nonce": 1, "redirect_uri": BACK}):
        assert (await client.post("/console/sign-in", json=body)).status_code == 422


async def test_metadata_of_another_issuer_are_not_used() -> None:
    async with provider() as found, service(found, f"{found.url}/") as client:
        assert (await client.get("/console/sign-in")).status_code == 503


async def test_without_its_provider_one_learns_that_a_key_still_works() -> None:
    async with provider() as found:
        stack = AsyncExitStack()
        client = await stack.enter_async_context(service(found))
    async with stack:
        answer = await client.post("/console/sign-in", json=attempt(found))
    assert answer.status_code == 503
    assert answer.json()["code"] == "sign-in-unavailable"


async def test_where_it_is_not_set_up_there_is_no_sign_in() -> None:
    transport = httpx.ASGITransport(app=create_app(stores()))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://console.example") as client:
        assert (await client.get("/console/sign-in")).status_code == 404
        assert (await client.post("/console/sign-in", json={})).status_code == 404
