"""What a service reports about requests that it has refused for lack of a right. Sent in a CloudEvents envelope, ``Request``."""

from typing import Annotated, Final

from pydantic import Field

from shared.contracts.values import Actor, Label, Timestamp
from shared.messages.control import ControlData

DENIED: Final = "identity.denied"


class Denied(ControlData):
    """From a service that checks identities: it refused this identity this action, ``count`` times within one minute.

    Recorded in the audit, once for each envelope ``id``; publish them through ``shared.messaging.denials``.
    """

    service: Label
    """The deployable that refused: ``query_service``, ``command_service``, ``worker`` …"""
    identity: Actor
    """The subject of the credential; ``anonymous`` where there was none, or none that is valid."""
    behind: Actor | None = None
    """Whom the identity claimed to act for."""
    action: Label
    """A route (``GET /dead-letters/{letter_id}``) or a command's type: never what a client may make up."""
    code: Label
    """The refusal's code, as the client got it."""
    scope: Label | None = None
    """The scope that the identity lacks; None: something else was wrong."""
    minute: Timestamp
    """Its beginning."""
    count: Annotated[int, Field(ge=1)]
