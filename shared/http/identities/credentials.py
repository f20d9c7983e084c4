"""From a request's ``Authorization`` to its identity: an API key, a token, or the operators' key.

    Authorization: Bearer tmk_…        API key (``key_cache``)
    Authorization: Bearer ey….….…      token of the issuer (``tokens``), if one is set
    Authorization: Bearer <other>      the key in ``TIDEMARK_OPERATOR_KEY``, if it is set

Exactly one header, of at most MAX_LENGTH characters; everything else is 401. ``Tidemark-Actor`` says whom the identity acts for.
"""

import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final

from pydantic import TypeAdapter, ValidationError

from shared.contracts.values import Actor
from shared.http.identities import api_keys, scopes
from shared.http.identities.guard import AuthenticationOff, Authenticator, UnauthorisedError
from shared.http.identities.identity import OPERATOR, AnyConnection, Identity
from shared.http.identities.key_cache import ApiKeyCache
from shared.http.query_string import InvalidParameterError
from shared.runtime.health import Probe
from shared.runtime.process import CannotStartError, require_loopback
from shared.runtime.settings import Settings

if TYPE_CHECKING:
    from shared.http.identities.tokens import TokenVerifier

log: Final = logging.getLogger(__name__)

MAX_LENGTH: Final = 8192
ACTOR: Final = "Tidemark-Actor"
_LABEL: Final[TypeAdapter[str]] = TypeAdapter(Actor)


class Credentials:
    """An authenticator of requests by their credentials."""

    def __init__(self, keys: ApiKeyCache, tokens: "TokenVerifier | None" = None, operator_key: str = "") -> None:
        self._keys = keys
        self._tokens = tokens
        self._operator_key = operator_key.encode()

    @property
    def trouble(self) -> str | None:
        """Why keys or the issuer's keys cannot be read; those that are known go on for a while."""
        return self._keys.trouble or (self._tokens.jwks.trouble if self._tokens is not None else None)

    async def identify(self, connection: AnyConnection) -> Identity:
        """Raises UnauthorisedError, CredentialsUncheckedError; InvalidParameterError for a malformed ``Tidemark-Actor``."""
        credential = bearer(connection)
        if (key := api_keys.parse(credential)) is not None:
            return await self._keys.identify(key, claimed_person(connection))
        if self._operator_key and hmac.compare_digest(credential.encode(), self._operator_key):
            return Identity(OPERATOR, scopes.OPERATOR, claimed_person(connection))
        if self._tokens is not None and credential.count(".") == 2:
            return await self._tokens.identify(credential, claimed_person(connection))
        raise UnauthorisedError(given=True)


def bearer(connection: AnyConnection) -> str:
    """The one credential of a request. Raises UnauthorisedError."""
    given = connection.headers.getall("authorization", [])
    if not given:
        raise UnauthorisedError(given=False)
    scheme, _, credential = given[0].partition(" ")
    credential = credential.strip()
    if (
        len(given) > 1
        or scheme.lower() != "bearer"
        or not 0 < len(credential) <= MAX_LENGTH
        or not credential.isascii()
    ):
        raise UnauthorisedError(given=True)
    return credential


def claimed_person(connection: AnyConnection) -> str | None:
    """Whom the sender says it acts for; None: it names nobody. Raises InvalidParameterError."""
    given = connection.headers.get(ACTOR.lower())
    if given is None:
        return None
    try:
        return _LABEL.validate_python(given.encode("latin-1").decode().strip())
    except UnicodeError as error:
        raise InvalidParameterError(ACTOR, "must be UTF-8") from error
    except ValidationError as error:
        raise InvalidParameterError(ACTOR, "must be 1 to 200 characters, and no NUL") from error


class Authentication:
    """What a service needs to know whose requests it gets: the authenticator, its background tasks and its probes."""

    def __init__(self, settings: Settings) -> None:
        """Raises CannotStartError: ``TIDEMARK_AUTH=off`` beyond this machine; MissingSettingError, ValueError: settings do not fit."""
        self.authenticator: Authenticator = AuthenticationOff()
        self.background: Mapping[str, Callable[[], Awaitable[None]]] = {}
        self.probes: Mapping[str, Probe] = {}
        self.tokens: TokenVerifier | None = None
        """Of the issuer's tokens; None: none are accepted."""
        self._keys: ApiKeyCache | None = None
        if settings.auth == "off":
            require_loopback(settings.host, "TIDEMARK_HOST")
            log.warning(
                "authentication is off: every request may do everything; only processes of this machine reach it"
            )
            return
        self._keys = keys = ApiKeyCache(settings.require("operations_db_url"))
        self.tokens = tokens = _token_verifier(settings)
        self.authenticator = Credentials(keys, tokens, settings.operator_key)
        self.background = {"keys": keys.run}
        self.probes = {"credentials": lambda: self.authenticator.trouble}
        if tokens is not None:
            self.background = {**self.background, "jwks": tokens.jwks.run}

    async def close(self) -> None:
        if self._keys is not None:
            await self._keys.close()


def _token_verifier(settings: Settings) -> "TokenVerifier | None":
    given = {name: getattr(settings, name) for name in ("jwt_issuer", "jwt_audience", "jwt_jwks_url")}
    if not any(given.values()):
        return None
    if missing := [f"TIDEMARK_{name.upper()}" for name, value in given.items() if not value]:
        raise CannotStartError(f"tokens need {', '.join(missing)}, too")
    # Here, because services without tokens start in two thirds of the time without these libraries.
    from shared.http.identities.jwks import Jwks
    from shared.http.identities.tokens import TokenRules, TokenVerifier, allowed_algorithms

    algorithms = allowed_algorithms(settings.jwt_algorithms)
    rules = TokenRules(settings.jwt_issuer, settings.jwt_audience, algorithms, settings.jwt_leeway_s)
    return TokenVerifier(rules, Jwks(settings.jwt_jwks_url, algorithms))
