"""Signing in to the console through an OpenID provider: the authorization code flow (OpenID Connect Core §3.1) with PKCE (RFC 7636).

    page ──state, nonce, verifier: kept in its tab──▶ provider ──code──▶ page ──code, verifier, nonce──▶ here ──▶ token endpoint
         ◀──access token────────────────────────────────────────────────────────────────────────────────┘

The page gets an access token that both HTTP services would accept, or a refusal that says nothing of why; the log says why. Nothing is
kept here, so that any query service can finish what another has begun. The provider is the issuer whose tokens are accepted anyway.

Problem
├── SignInRefusedError       403: the code, or a token that it gave, is not what it should be
└── ProviderUnavailableError 503: the provider does not answer, or not as its own metadata promise
"""

import asyncio
import hmac
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import httpx
import msgspec

from shared.http.identities.guard import CredentialsUncheckedError, UnauthorisedError
from shared.http.problems import Problem

if TYPE_CHECKING:
    from shared.http.identities.tokens import TokenVerifier

log: Final = logging.getLogger(__name__)

METADATA: Final = "/.well-known/openid-configuration"
METADATA_KEPT_S: Final = 300.0
DEADLINE_S: Final = 5.0
MAX_AT_ONCE: Final = 8
"""Exchanges under way: those without a credential must not be able to have the provider asked without end."""

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]


class SignInRefusedError(Problem):
    status = 403
    code = "sign-in-refused"

    def __init__(self) -> None:
        super().__init__("this sign-in is not accepted: begin again")


class ProviderUnavailableError(Problem):
    status = 503
    code = "sign-in-unavailable"

    def __init__(self) -> None:
        super().__init__(
            "the provider that people sign in with cannot be asked now; an API key works without it",
            headers={"Retry-After": "5"},
        )


class ProviderMetadata(msgspec.Struct):
    """What is needed of OpenID Connect Discovery §3."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    end_session_endpoint: str = ""


class TokenResponse(msgspec.Struct):
    access_token: str
    id_token: str


Answer = TypeVar("Answer", ProviderMetadata, TokenResponse)


@dataclass(frozen=True, slots=True)
class Client:
    """As it is registered with the provider. ``secret``: empty for a public client; ``scope``: what is asked for."""

    id: str
    secret: str
    scope: str


class Code(msgspec.Struct, forbid_unknown_fields=True):
    """What the page brings back from the provider, and what it has kept for it."""

    code: Text
    code_verifier: Text
    nonce: Text
    redirect_uri: Text


class SignIn:
    def __init__(self, client: Client, issuer: str, tokens: "TokenVerifier") -> None:
        self._client = client
        self._issuer = issuer
        self._tokens = tokens
        self._metadata: ProviderMetadata | None = None
        self._read_at = float("-inf")
        self._exchanges = asyncio.Semaphore(MAX_AT_ONCE)

    async def offer(self) -> Mapping[str, str]:
        """Where the page sends the browser, and as whom. Raises ProviderUnavailableError."""
        metadata = await self._provider()
        return {
            "issuer": metadata.issuer,
            "authorization_endpoint": metadata.authorization_endpoint,
            "end_session_endpoint": metadata.end_session_endpoint,
            "client_id": self._client.id,
            "scope": self._client.scope,
        }

    async def exchange(self, code: Code) -> str:
        """The access token for a code. Raises SignInRefusedError, ProviderUnavailableError."""
        if self._exchanges.locked():
            raise ProviderUnavailableError
        async with self._exchanges:
            tokens = await self._redeem(code, await self._provider())
            try:
                claims = await self._tokens.claims(tokens.id_token, audience=self._client.id)
                _require(claims, self._client.id, code.nonce)
                await self._tokens.identify(tokens.access_token, None)
            except UnauthorisedError as error:
                log.warning("a sign-in is refused: the ID token or the access token is not valid for this service")
                raise SignInRefusedError from error
            except CredentialsUncheckedError as error:
                raise ProviderUnavailableError from error
            return tokens.access_token

    async def _redeem(self, code: Code, provider: ProviderMetadata) -> TokenResponse:
        form = {"grant_type": "authorization_code", **msgspec.to_builtins(code)}
        del form["nonce"]
        if not self._client.secret:
            form["client_id"] = self._client.id
        answer = await self._ask("POST", provider.token_endpoint, form)
        if 400 <= answer.status_code < 500:
            log.warning("a sign-in is refused: the provider's token endpoint answers %d", answer.status_code)
            raise SignInRefusedError
        return _parsed(answer, TokenResponse)

    async def _provider(self) -> ProviderMetadata:
        if self._metadata is None or time.monotonic() - self._read_at > METADATA_KEPT_S:
            found = _parsed(await self._ask("GET", self._issuer.rstrip("/") + METADATA), ProviderMetadata)
            if found.issuer != self._issuer:
                log.error("the provider's metadata are of another issuer: %r, not %r", found.issuer, self._issuer)
                raise ProviderUnavailableError
            self._metadata, self._read_at = found, time.monotonic()
        return self._metadata

    async def _ask(self, method: str, url: str, form: Mapping[str, str] | None = None) -> httpx.Response:
        auth = httpx.BasicAuth(self._client.id, self._client.secret) if form and self._client.secret else None
        try:
            async with asyncio.timeout(DEADLINE_S), httpx.AsyncClient(timeout=DEADLINE_S) as client:
                headers = {"Accept": "application/json"}
                return await client.request(method, url, data=form, auth=auth, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as error:
            log.warning("the provider that people sign in with cannot be asked: %s", error or type(error).__name__)
            raise ProviderUnavailableError from error


def _require(claims: Mapping[str, Any], client_id: str, nonce: str) -> None:
    """That the ID token was made for this client and this sign-in. Raises SignInRefusedError."""
    of_client = claims.get("azp", client_id) == client_id
    if not of_client or not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
        log.warning("a sign-in is refused: its ID token is of another %s", "nonce" if of_client else "client")
        raise SignInRefusedError


def _parsed(answer: httpx.Response, kind: type[Answer]) -> Answer:
    try:
        if answer.status_code == 200:
            return msgspec.json.decode(answer.content, type=kind)
        log.warning("%s answers %d", answer.url, answer.status_code)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("%s answers what is no %s: %s", answer.url, kind.__name__, error)
    raise ProviderUnavailableError
