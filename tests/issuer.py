"""An issuer of access tokens, for tests: it has keys, signs what it is asked to, and publishes its keys on a port of this machine."""

import asyncio
import json
import time
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.warnings import InsecureKeyLengthWarning

ISSUER = "https://login.example.org"
AUDIENCE = "tidemark"


@dataclass
class SigningKey:
    """``alg`` and ``kid`` as in the tokens that it signs."""

    kid: str
    algorithm: str
    private: Any
    public: dict[str, Any]

    def token(self, *, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token that is valid for a minute, but for what is given; a claim that is None is left out."""
        now = int(time.time())
        usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 60, "scope": "queries:orders"}
        kept = {name: value for name, value in {**usual, **claims}.items() if value is not None}
        with warnings.catch_warnings(category=InsecureKeyLengthWarning, action="ignore"):
            return jwt.encode(kept, self.private, self.algorithm, headers={"kid": self.kid, **(headers or {})})


def signing_key(kid: str, algorithm: str = "ES256", *, bits: int = 2048) -> SigningKey:
    private: Any
    if algorithm.startswith(("RS", "PS")):
        private = rsa.generate_private_key(65537, bits)
        public = RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
    elif algorithm == "EdDSA":
        private = ed25519.Ed25519PrivateKey.generate()
        public = OKPAlgorithm.to_jwk(private.public_key(), as_dict=True)
    else:
        private = ec.generate_private_key(ec.SECP256R1())
        public = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
    public.pop("key_ops", None)
    return SigningKey(kid, algorithm, private, {**public, "kid": kid, "use": "sig"})


def jwks(*keys: SigningKey) -> bytes:
    return json.dumps({"keys": [key.public for key in keys]}).encode()


@dataclass
class Issuer:
    """What it publishes; both may be changed at any time. ``fetched``: how often its keys were asked for."""

    keys: list[SigningKey] = field(default_factory=list)
    status: int = 200
    fetched: int = 0
    url: str = ""
    request: str = ""
    """The last one, as it came."""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.request = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.fetched += 1
        body = jwks(*self.keys)
        head = f"HTTP/1.1 {self.status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def publishing(*keys: SigningKey) -> AsyncIterator[Issuer]:
    issuer = Issuer(list(keys))
    server = await asyncio.start_server(issuer.answer, "127.0.0.1", 0)
    issuer.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks.json"
    try:
        yield issuer
    finally:
        server.close()
