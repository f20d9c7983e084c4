"""An OpenID provider for tests: metadata, a page on which a person allows the sign-in, codes with PKCE, tokens, an end of the session."""

import hashlib
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from tests.issuer import AUDIENCE, SigningKey, jwks, signing_key

CLIENT = "tidemark-console"
ALLOW = "Allow"


@dataclass
class Provider:
    """``person``: claims of the access tokens. ``wrong``: what is wrong in its answers: state, issuer, nonce, audience or client."""

    url: str = ""
    key: SigningKey = field(default_factory=lambda: signing_key("provider"))
    person: dict[str, Any] = field(default_factory=lambda: {"sub": "ann@example.org", "scope": "operations:read"})
    wrong: str = ""
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    ended: int = 0
    """How often a session was ended."""

    async def metadata(self, _: web.Request) -> web.Response:
        endpoints = {f"{name}_endpoint": f"{self.url}/{name}" for name in ("authorization", "token", "end_session")}
        return web.json_response({"issuer": self.url, "jwks_uri": f"{self.url}/jwks.json", **endpoints})

    async def jwks(self, _: web.Request) -> web.Response:
        return web.Response(body=jwks(self.key), content_type="application/json")

    async def authorization(self, request: web.Request) -> web.Response:
        asked = dict(request.query)
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT
        assert asked["code_challenge_method"] == "S256"
        code = self.code_for(asked)
        back = urlencode(
            {
                "code": code,
                "state": "another" if self.wrong == "state" else asked["state"],
                "iss": "https://other.example" if self.wrong == "issuer" else self.url,
            }
        )
        link = f'<a href="{asked["redirect_uri"]}?{back}">{ALLOW}</a>'.replace("&", "&amp;")
        return web.Response(text=f"<!doctype html><title>Provider</title>{link}", content_type="text/html")

    @staticmethod
    def seconds_from_now(seconds: int) -> int:
        return int(time.time()) + seconds

    def code_for(self, asked: dict[str, str]) -> str:
        code = secrets.token_urlsafe()
        self.codes[code] = asked
        return code

    async def token(self, request: web.Request) -> web.Response:
        form = await request.post()
        asked = self.codes.pop(str(form["code"]), None)
        if (
            asked is None
            or form["grant_type"] != "authorization_code"
            or form.get("client_id") != asked["client_id"]
            or form["redirect_uri"] != asked["redirect_uri"]
            or challenge(str(form["code_verifier"])) != asked["code_challenge"]
        ):
            return web.json_response({"error": "invalid_grant"}, status=400)
        nonce = "another" if self.wrong == "nonce" else asked["nonce"]
        client = "another" if self.wrong == "client" else CLIENT
        audience = "another" if self.wrong == "audience" else AUDIENCE
        answer = {
            "token_type": "Bearer",
            "id_token": self.key.token(iss=self.url, aud=client, nonce=nonce, scope=None),
            "access_token": self.key.token(iss=self.url, aud=audience, **self.person),
        }
        return web.json_response(answer)

    async def end_session(self, request: web.Request) -> web.Response:
        self.ended += 1
        raise web.HTTPFound(request.query["post_logout_redirect_uri"])


def challenge(verifier: str) -> str:
    return urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


@asynccontextmanager
async def provider() -> AsyncIterator[Provider]:
    found = Provider()
    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", found.metadata)
    app.router.add_get("/jwks.json", found.jwks)
    app.router.add_get("/authorization", found.authorization)
    app.router.add_post("/token", found.token)
    app.router.add_get("/end_session", found.end_session)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield found
    finally:
        await runner.cleanup()
