"""Tokens: one that is right in everything is accepted, and every single deviation is refused, in the same words."""

import base64
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from shared.http.identities.guard import UnauthorisedError
from shared.http.identities.jwks import Jwks, JwksError, usable_keys
from shared.http.identities.tokens import TokenRules, TokenVerifier, allowed_algorithms, granted
from tests.issuer import AUDIENCE, ISSUER, SigningKey, jwks, signing_key

ALGORITHMS = ("RS256", "ES256", "EdDSA")
KEYS = {algorithm: signing_key(f"key-{algorithm}", algorithm) for algorithm in ALGORITHMS}
KEY = KEYS["ES256"]
STRANGER = signing_key("key-ES256", "ES256")
"""Another key under the same id."""
SMALL = signing_key("small", "RS256", bits=1024)
NOW = int(time.time())


class Clock:
    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return time.time() + self.ahead


async def verifier(tmp_path: Any, *keys: SigningKey, clock: Clock | None = None) -> TokenVerifier:
    path = tmp_path / "jwks.json"
    path.write_bytes(jwks(*(keys or (*KEYS.values(), SMALL))))
    rules = TokenRules(ISSUER, AUDIENCE, ALGORITHMS, leeway_s=30)
    made = TokenVerifier(rules, Jwks(str(path), ALGORITHMS), now=(clock or Clock()).now)
    assert await made.jwks._fetch() is None
    return made


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_valid_token_is_its_subject_with_its_scopes(tmp_path: Any, algorithm: str) -> None:
    tokens = await verifier(tmp_path)
    token = KEYS[algorithm].token(sub="shop", scope="queries:orders openid commands:orders.*")
    for _ in range(2):
        identity = await tokens.identify(token, "ann")
        assert (identity.subject, identity.behind) == ("shop", "ann")
        assert identity.scopes == {"queries:orders", "commands:orders.*"}


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


CLAIMS = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "iat": NOW, "exp": NOW + 600, "scope": "*"}
PEM = KEYS["RS256"].private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def hmac_of_public_key(secret: bytes) -> str:
    """The algorithm confusion of CVE-2015-9235: signed with the public key as an HMAC secret."""
    import hashlib
    import hmac

    signed = f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': 'key-RS256'})}.{part(CLAIMS)}"
    digest = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


INVALID = {
    "alg none": f"{part({'alg': 'none', 'kid': 'key-ES256'})}.{part(CLAIMS)}.",
    "alg None": f"{part({'alg': 'None', 'kid': 'key-ES256'})}.{part(CLAIMS)}.",
    "no alg": f"{part({'kid': 'key-ES256'})}.{part(CLAIMS)}.AAAA",
    "alg is no text": f"{part({'alg': ['ES256'], 'kid': 'key-ES256'})}.{part(CLAIMS)}.AAAA",
    "hmac with the public key": hmac_of_public_key(PEM),
    "hmac with the published key": hmac_of_public_key(json.dumps(KEYS["RS256"].public).encode()),
    "no signature": KEY.token().rpartition(".")[0] + ".",
    "a changed claim": ".".join([KEY.token().split(".")[0], part(CLAIMS | {"scope": "*"}), KEY.token().split(".")[2]]),
    "another key under the same id": STRANGER.token(),
    "an unknown key": signing_key("other").token(),
    "no key id": jwt.encode(CLAIMS, KEY.private, "ES256"),
    "a key of another algorithm": KEY.token(headers={"kid": "key-EdDSA"}),
    "a key that is too short": SMALL.token(),
    "an algorithm that is not allowed": jwt.encode(
        CLAIMS, KEYS["RS256"].private, "RS512", headers={"kid": "key-RS256"}
    ),
    "another issuer": KEY.token(iss="https://login.example.com"),
    "an issuer that begins alike": KEY.token(iss=ISSUER + "/"),
    "no issuer": KEY.token(iss=None),
    "another audience": KEY.token(aud="another"),
    "several audiences, none of them ours": KEY.token(aud=["a", "b"]),
    "no audience": KEY.token(aud=None),
    "expired": KEY.token(exp=NOW - 31),
    "no expiry": KEY.token(exp=None),
    "an expiry that is no time": KEY.token(exp="soon"),
    "an endless expiry": f"{part({'alg': 'ES256', 'kid': 'key-ES256'})}.{part(CLAIMS).replace('e', 'f')}.AAAA",
    "not yet valid": KEY.token(nbf=NOW + 300),
    "issued in the future": KEY.token(iat=NOW + 300),
    "no subject": KEY.token(sub=None),
    "an empty subject": KEY.token(sub=""),
    "a subject that is too long": KEY.token(sub="x" * 201),
    "our own subject": KEY.token(sub="operator"),
    "our own subject, in capitals": KEY.token(sub="Tidemark/relay"),
    "anonymous": KEY.token(sub="anonymous"),
    "a subject with a NUL": KEY.token(sub="a\x00b"),
    "an extension that must be understood": KEY.token(headers={"crit": ["exp"], "exp": 1}),
    "two parts": "a.b",
    "no parts": "abc",
    "empty parts": "..",
    "not base64": "é.é.é",
    "a header that is a list": f"{part([1])}.{part(CLAIMS)}.AAAA",
    "claims that are a list": jwt.PyJWS().encode(b"[1]", KEY.private, "ES256", headers={"kid": KEY.kid}),
}


@pytest.mark.parametrize("token", INVALID.values(), ids=INVALID.keys())
async def test_a_token_with_anything_wrong_is_refused_in_the_same_words(tmp_path: Any, token: str) -> None:
    tokens = await verifier(tmp_path)
    with pytest.raises(UnauthorisedError) as refused:
        await tokens.identify(token, None)
    assert refused.value.detail == UnauthorisedError(given=True).detail
    assert refused.value.headers == UnauthorisedError(given=True).headers


async def test_clocks_may_differ_by_the_leeway(tmp_path: Any) -> None:
    tokens = await verifier(tmp_path)
    soon = int(time.time()) + 15
    for token in (KEY.token(exp=soon - 30), KEY.token(nbf=soon), KEY.token(iat=soon)):
        assert (await tokens.identify(token, None)).subject == "ann"


async def test_a_token_that_was_valid_a_moment_ago_expires_all_the_same(tmp_path: Any) -> None:
    clock = Clock()
    tokens = await verifier(tmp_path, clock=clock)
    token = KEY.token(exp=int(time.time()) + 60)
    await tokens.identify(token, None)
    clock.ahead = 91
    with pytest.raises(UnauthorisedError):
        await tokens.identify(token, None)


async def test_a_token_whose_key_is_withdrawn_is_refused_although_it_was_accepted_before(tmp_path: Any) -> None:
    tokens = await verifier(tmp_path, KEY, KEYS["EdDSA"])
    token = KEY.token()
    await tokens.identify(token, None)
    (tmp_path / "jwks.json").write_bytes(jwks(KEYS["EdDSA"]))
    assert await tokens.jwks._fetch() is None
    with pytest.raises(UnauthorisedError):
        await tokens.identify(token, None)


async def test_the_number_of_kept_tokens_is_bounded(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.http.identities.tokens.MAX_KEPT", 5)
    tokens = await verifier(tmp_path)
    for number in range(8):
        await tokens.identify(KEY.token(sub=f"user-{number}"), None)
    assert len(tokens._checked) == 5


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": "queries:orders queries:catalog"}, {"queries:orders", "queries:catalog"}),
        ({"scp": "queries:orders"}, {"queries:orders"}),
        ({"scp": ["queries:orders", 5, "no"]}, {"queries:orders"}),
        ({"scope": "", "scp": "*"}, set()),
        ({"scope": 5}, set()),
        ({"scope": None}, set()),
        ({}, set()),
    ],
)
def test_scopes_are_read_from_scope_or_scp(claims: dict[str, Any], scopes: set[str]) -> None:
    assert granted(claims) == scopes


@pytest.mark.parametrize("text", ["none", "HS256", "RS256,HS512", "ES256K", "", ",", "rs256"])
def test_an_algorithm_that_is_not_safe_cannot_be_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="there are RS256"):
        allowed_algorithms(text)


def test_keys_that_cannot_verify_are_left_out_of_a_set() -> None:
    good = KEY.public
    bad: list[Any] = [
        {**good, "kid": "enc", "use": "enc"},
        {**good, "kid": "ops", "key_ops": ["encrypt"]},
        {**good, "kid": "alg", "alg": "ES384"},
        {**good, "kid": 5},
        {**good, "kid": "curve", "crv": "P-384"},
        {**good, "kid": "point", "x": "AAAA"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "secret", "alg": "HS256"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "secret-2", "alg": "ES256"},
        "text",
        None,
    ]
    found = usable_keys(json.dumps({"keys": [*bad, good]}).encode(), ALGORITHMS)
    assert set(found) == {("key-ES256", "ES256")}


@pytest.mark.parametrize(
    "document", [b"", b"\xff", b"[]", b"{}", b'{"keys": 5}', b"[" * 100_000, b'{"keys": [' + b"{}," * 200 + b"{}]}"]
)
def test_what_is_no_set_of_keys_is_an_error(document: bytes) -> None:
    with pytest.raises(JwksError):
        usable_keys(document, ALGORITHMS)
