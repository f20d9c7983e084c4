"""Whose commands a request may send and see: a command belongs to the source that it was sent as, and each identity is a source.

An identity sends as its own subject, or as a source for which it has the scope ``sources:<source>``. It sees the outcomes and the scheduled
commands of the same sources; those of all, with ``outcomes:read`` and ``scheduled:act``. While authentication is off, every request may
send as, and see, any source, and sends as SOURCE if it names none.
"""

from collections.abc import Mapping

from command_service.http.command_names import SOURCE, claimed_source
from shared.http.identities.guard import require
from shared.http.identities.identity import Identity


def own_source(identity: Identity) -> str:
    """The source of what it sends without naming one."""
    return SOURCE if identity.is_anonymous else identity.subject


def sending_source(headers: Mapping[str, str], identity: Identity) -> str:
    """The source that a command is sent as. Raises ForbiddenError for another's."""
    source = claimed_source(headers)
    if source is None:
        return own_source(identity)
    if not is_own(identity, source):
        require(identity, [f"sources:{source}"])
    return source


def is_own(identity: Identity, source: str) -> bool:
    """Whether commands of this source are its own."""
    return identity.is_anonymous or source == identity.subject or identity.may(f"sources:{source}")


def require_sight(identity: Identity, source: str, scope: str) -> None:
    """Raises ForbiddenError unless commands of this source are its own, or it has ``scope``, for those of all."""
    if not is_own(identity, source):
        require(identity, [scope])
