"""The identity behind a request: known before its route is reached, and the same for all that happens because of it."""

from dataclasses import dataclass
from typing import Any, Final

from litestar.connection import ASGIConnection

from shared.http.identities.scopes import EVERYTHING, allows

AnyConnection = ASGIConnection[Any, Any, Any, Any]

IDENTITY: Final = "tidemark.identity"
"""Key in a connection's scope."""
OPERATOR: Final = "operator"
"""The subject of the key in ``TIDEMARK_OPERATOR_KEY``."""
RESERVED: Final = ("anonymous", OPERATOR, "tidemark")


@dataclass(frozen=True, slots=True)
class Identity:
    """``subject``: the credential's, which audits name as the actor; ``scopes``: what it may do, as granted, wildcards included.

    ``behind``: the person or system that the subject says it acts for (``Tidemark-Actor``); kept as claimed, decides nothing.
    """

    subject: str
    scopes: frozenset[str]
    behind: str | None = None
    expires_at: float | None = None
    """When its credential ends, in seconds since 1970; None: it is not known to."""

    @property
    def is_anonymous(self) -> bool:
        """Whether there is no credential: authentication is off, or the route is public."""
        return self is ANONYMOUS or self is NO_CREDENTIAL

    def may(self, scope: str) -> bool:
        """Whether it has this scope, by itself or by a wildcard."""
        return allows(self.scopes, scope)


def is_reserved(subject: str) -> bool:
    """Whether the subject is one of our own: no key and no token may have it, nor one that begins with it and a slash."""
    return subject.partition("/")[0].casefold() in RESERVED


ANONYMOUS: Final = Identity("anonymous", frozenset({EVERYTHING}))
"""Every request while ``TIDEMARK_AUTH=off``."""
NO_CREDENTIAL: Final = Identity("anonymous", frozenset())
"""A request to a public route, which is not authenticated."""


def identity_of(connection: AnyConnection) -> Identity:
    """Whose request it is. Only for a route that ``authorise`` has let through; otherwise an identity without any scope."""
    found: Identity = connection.scope.get(IDENTITY, NO_CREDENTIAL)  # type: ignore[assignment]
    return found
