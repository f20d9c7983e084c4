"""Access tokens: JWTs (RFC 7519) of one issuer for one audience, signed with one of its published keys.

    token ──cached?──▶ identity
       └──▶ header: allowed algorithm, known key ──▶ signature ──▶ iss, aud, exp, nbf, iat, sub ──▶ identity, cached until exp

Whatever is wrong with a token, the client learns only that it is not valid: which check failed would help those who forge tokens.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import jwt
from jwt.exceptions import PyJWTError
from pydantic import TypeAdapter, ValidationError

from shared.contracts.values import Actor
from shared.http.identities import scopes
from shared.http.identities.guard import CredentialsUncheckedError, UnauthorisedError
from shared.http.identities.identity import Identity, is_reserved
from shared.http.identities.jwks import TYPE_OF_ALGORITHM, Jwks

MAX_KEPT: Final = 10_000
"""Tokens whose signature has been checked: 10,000 take some 5 MB."""
REQUIRED: Final = ["iss", "aud", "exp", "sub"]
_SUBJECT: Final[TypeAdapter[str]] = TypeAdapter(Actor)


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What is pinned; ``leeway_s``: by how much clocks may differ."""

    issuer: str
    audience: str
    algorithms: Sequence[str]
    leeway_s: float


@dataclass(frozen=True, slots=True)
class _Checked:
    subject: str
    scopes: frozenset[str]
    expires_at: float
    revision: int


class TokenVerifier:
    def __init__(self, rules: TokenRules, jwks: Jwks, *, now: Callable[[], float] = time.time) -> None:
        self.jwks = jwks
        self._rules = rules
        self._now = now
        self._checked: OrderedDict[bytes, _Checked] = OrderedDict()

    async def identify(self, token: str, behind: str | None) -> Identity:
        """Raises UnauthorisedError; CredentialsUncheckedError while the issuer's keys are unknown."""
        digest = sha256(token.encode()).digest()
        found = self._checked.get(digest)
        if found is None or found.revision != self.jwks.revision or not self.jwks.is_usable:
            found = await self._check(token)
            self._checked[digest] = found
            self._checked.move_to_end(digest)
            while len(self._checked) > MAX_KEPT:
                self._checked.popitem(last=False)
        if found.expires_at + self._rules.leeway_s <= self._now():
            self._checked.pop(digest, None)
            raise UnauthorisedError(given=True)
        return Identity(found.subject, found.scopes, behind, found.expires_at)

    async def _check(self, token: str) -> _Checked:
        revision = self.jwks.revision
        claims = await self.claims(token)
        try:
            return _Checked(_subject(claims), granted(claims), float(claims["exp"]), revision)
        except (ValidationError, ValueError, TypeError, OverflowError) as error:
            raise UnauthorisedError(given=True) from error

    async def claims(self, token: str, *, audience: str = "") -> Mapping[str, Any]:
        """What a valid token says; ``audience``: whom it has to be for, if not for this service. Raises as ``identify`` does."""
        try:
            header = jwt.get_unverified_header(token)
        except PyJWTError as error:
            raise UnauthorisedError(given=True) from error
        key_id, algorithm = header.get("kid"), header.get("alg")
        if (
            not isinstance(key_id, str)
            or not isinstance(algorithm, str)
            or algorithm not in self._rules.algorithms
            or "crit" in header
        ):
            raise UnauthorisedError(given=True)
        key = await self.jwks.find((key_id, algorithm))
        if not self.jwks.is_usable:
            raise CredentialsUncheckedError
        if key is None:
            raise UnauthorisedError(given=True)
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                issuer=self._rules.issuer,
                audience=audience or self._rules.audience,
                leeway=self._rules.leeway_s,
                options={"require": REQUIRED, "enforce_minimum_key_length": True},
            )
        except (PyJWTError, ValueError, TypeError, OverflowError) as error:
            raise UnauthorisedError(given=True) from error
        return claims


def granted(claims: Mapping[str, Any]) -> frozenset[str]:
    """The scopes in ``scope`` (RFC 8693 §4.2: words in a text), else in ``scp`` (a text, or a list); those of other services left out."""
    claimed = claims.get("scope", claims.get("scp", ""))
    words = claimed.split() if isinstance(claimed, str) else claimed
    if not isinstance(words, list):
        return frozenset()
    return scopes.known({word for word in words if isinstance(word, str)})


def allowed_algorithms(text: str) -> tuple[str, ...]:
    """The algorithms in a setting, separated by commas. Raises ValueError for one that is not safe, or none."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in TYPE_OF_ALGORITHM:
            raise ValueError(f"{name!r} cannot be allowed for tokens; there are {', '.join(TYPE_OF_ALGORITHM)}")
    if not names:
        raise ValueError(f"no algorithm is allowed for tokens; there are {', '.join(TYPE_OF_ALGORITHM)}")
    return names


def _subject(claims: Mapping[str, Any]) -> str:
    subject = _SUBJECT.validate_python(claims["sub"])
    if is_reserved(subject):
        raise ValueError("reserved")
    return subject
