"""The issuer's public keys (JWKS, RFC 7517), in memory: fetched again every REFRESH_S, and for a key id that is not known yet.

PyJWT's own client fetches with ``urllib`` and a lock, while the event loop waits, and fetches in the middle of a request. Here a fetch is a
task of its own; a request waits only where its token names a key that is not there, and such fetches are COOLDOWN_S apart, whatever clients
send. While the issuer is unavailable, the keys that are known go on for KEPT_S.

A key is used only for the algorithms that are allowed, fit its type, and are not ruled out by its own ``alg`` and ``use``.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import httpx
import msgspec
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from shared.runtime.stalls import StallDetector

REFRESH_S: Final = 300.0
RETRY_S: Final = 5.0
COOLDOWN_S: Final = 5.0
KEPT_S: Final = 3600.0
FETCH_DEADLINE_S: Final = 5.0
MAX_BYTES: Final = 256 * 1024
MAX_KEYS: Final = 100

TYPE_OF_ALGORITHM: Final[Mapping[str, tuple[str, str | None]]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", None)),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""Every algorithm that may be allowed, with the type and curve of its keys. All sign with a private key: no HMAC, and never ``none``."""

Key = tuple[str, str]
"""(key id, algorithm)."""


class JwksError(Exception):
    """The keys cannot be fetched, or are none; the message says why."""


class Jwks:
    def __init__(
        self,
        url: str,
        algorithms: Collection[str],
        *,
        clock: Callable[[], float] = time.monotonic,
        cooldown_s: float = COOLDOWN_S,
    ) -> None:
        """``url``: http, https or file, or a path. Raises ValueError for what is none."""
        self._url = url
        self._parts = parts = urlsplit(url)
        self._auth = (unquote(parts.username or ""), unquote(parts.password or "")) if parts.username else None
        self._address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        """Without the user and password, which neither health nor a log shows."""
        self._shown = self._address.partition("?")[0]
        self._algorithms = algorithms
        self._clock = clock
        self._cooldown_s = cooldown_s
        self._progress = StallDetector(stalled_after_s=FETCH_DEADLINE_S + 1)
        self._fetching = asyncio.Lock()
        self._keys: Mapping[Key, PyJWK] = {}
        self._fetched = b""
        self._fetched_at: float | None = None
        self._tried_at = float("-inf")
        self.revision = 0
        """Counts the times that the keys have changed."""

    @property
    def trouble(self) -> str | None:
        """Why the keys cannot be fetched."""
        return self._progress.trouble or (
            None if self._fetched_at is not None else "the issuer's keys have not been fetched yet"
        )

    @property
    def is_usable(self) -> bool:
        """Whether the keys have been fetched, and not too long ago."""
        return self._fetched_at is not None and self._clock() - self._fetched_at <= KEPT_S

    async def run(self) -> None:
        """Fetch the keys again and again, until cancelled."""
        while True:
            with self._progress.step("fetching the keys of the tokens' issuer") as step:
                while (error := await self._fetch()) is not None:
                    step.failed(error)
                    await asyncio.sleep(RETRY_S)
            await asyncio.sleep(REFRESH_S)

    async def find(self, key: Key) -> PyJWK | None:
        """The key, fetched if it is not known; None: there is none, as far as the issuer says or can be asked."""
        found = self._keys.get(key)
        if found is None:
            await self._fetch_for_unknown_key()
            found = self._keys.get(key)
        return found

    async def _fetch_for_unknown_key(self) -> None:
        began = self._clock()
        if began - self._tried_at < self._cooldown_s and not self._fetching.locked():
            return
        async with self._fetching:
            if self._clock() - self._tried_at >= self._cooldown_s:
                await self._fetch_now()

    async def _fetch(self) -> Exception | None:
        async with self._fetching:
            return await self._fetch_now()

    async def _fetch_now(self) -> Exception | None:
        self._tried_at = began = self._clock()
        try:
            async with asyncio.timeout(FETCH_DEADLINE_S):
                document = await self._document()
            if document != self._fetched:
                self._keys, self._fetched = usable_keys(document, self._algorithms), document
                self.revision += 1
        except (JwksError, OSError, TimeoutError, httpx.HTTPError, httpx.InvalidURL) as error:
            return error
        self._fetched_at = began
        return None

    async def _document(self) -> bytes:
        parts = self._parts
        if parts.scheme not in ("http", "https"):
            path = Path(unquote(parts.path) if parts.scheme == "file" else self._url)
            return await asyncio.to_thread(_read_file, path)
        async with (
            httpx.AsyncClient(timeout=FETCH_DEADLINE_S, auth=self._auth) as client,
            client.stream("GET", self._address, headers={"Accept": "application/json"}) as response,
        ):
            if response.status_code != 200:
                raise JwksError(f"{self._shown} answers {response.status_code}")
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise JwksError(f"{self._shown} sends more than {MAX_BYTES} bytes")
            return bytes(body)


def usable_keys(document: bytes, algorithms: Collection[str]) -> dict[Key, PyJWK]:
    """The keys of a JWKS that tokens may be signed with. What cannot be used is left out. Raises JwksError for what is no JWKS."""
    try:
        parsed = msgspec.json.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise JwksError("the issuer's keys are not JSON") from error
    listed = parsed.get("keys") if isinstance(parsed, dict) else None
    if not isinstance(listed, list) or len(listed) > MAX_KEYS:
        raise JwksError(f"the issuer's keys are not a list of at most {MAX_KEYS}")
    found: dict[Key, PyJWK] = {}
    for data in listed:
        if not isinstance(data, dict):
            continue
        for algorithm in algorithms:
            if (key := _usable(data, algorithm)) is not None:
                found.setdefault((str(data["kid"]), algorithm), key)
    return found


def _usable(data: dict[str, Any], algorithm: str) -> PyJWK | None:
    kid, use, operations = data.get("kid"), data.get("use"), data.get("key_ops")
    if not isinstance(kid, str) or not kid or use not in (None, "sig") or data.get("alg") not in (None, algorithm):
        return None
    if operations is not None and (not isinstance(operations, list) or "verify" not in operations):
        return None
    kind, curve = TYPE_OF_ALGORITHM[algorithm]
    if data.get("kty") != kind or (curve is not None and data.get("crv") != curve) or "d" in data:
        return None
    try:
        return PyJWK(data, algorithm)
    except (PyJWTError, ValueError, TypeError):
        return None


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        body = file.read(MAX_BYTES + 1)
    if len(body) > MAX_BYTES:
        raise JwksError(f"{path} has more than {MAX_BYTES} bytes")
    return body
