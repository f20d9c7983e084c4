"""Limits the number of open event streams, for each identity (or client address, where there is none) and in total.

A listener may keep its connection indefinitely, so the limits keep connections free for ordinary requests.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from litestar.handlers import BaseRouteHandler

from shared.http.admission import sender_of
from shared.http.identities.guard import REFUSED
from shared.http.identities.identity import AnyConnection
from shared.http.problems import Problem
from shared.runtime.settings import LISTENERS, LISTENERS_PER_CLIENT

RETRY_AFTER_S: Final = 10
SLOTS: Final = "tidemark.slots"
"""Key in the scope of a WebSocket: an ExitStack that is closed when its connection ends."""


class TooManyListenersError(Problem):
    """429: too many event streams; the connection is closed afterwards."""

    status = 429
    code = "too-many-listeners"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Retry-After": str(RETRY_AFTER_S), "Connection": "close"})


class Listeners:
    def __init__(self, total: int = LISTENERS, per_client: int = LISTENERS_PER_CLIENT) -> None:
        self._total = total
        self._per_client = per_client
        self._count = 0
        self._by_client: Counter[str] = Counter()

    @contextmanager
    def slot(self, scope: Any) -> Iterator[None]:
        """Occupies one slot for the sender of this connection. Raises TooManyListenersError."""
        client = sender_of(scope)
        if self._by_client[client] >= self._per_client:
            raise TooManyListenersError(f"{self._per_client} event streams of one client are the most there may be")
        if self._count >= self._total:
            raise TooManyListenersError(f"{self._total} event streams are the most there may be")
        self._count += 1
        self._by_client[client] += 1
        try:
            yield
        finally:
            self._count -= 1
            self._by_client[client] -= 1
            if not self._by_client[client]:
                del self._by_client[client]


def occupy_slot(connection: AnyConnection, _: BaseRouteHandler) -> None:
    """A guard of WebSockets: occupies a slot until the connection ends. Raises TooManyListenersError, which answers the handshake."""
    listeners: Listeners = connection.app.state.listeners
    slots: ExitStack = connection.scope[SLOTS]  # type: ignore[typeddict-item]  # a key of our own
    try:
        slots.enter_context(listeners.slot(connection.scope))
    except TooManyListenersError as error:
        connection.scope[REFUSED] = error  # type: ignore[typeddict-unknown-key]
        raise
