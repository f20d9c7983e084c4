"""Limits the number of open event streams, per client address and in total.

A listener may keep its connection indefinitely, so the limits keep connections free for ordinary requests.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from shared.http.admission import client_of
from shared.http.problems import Problem
from shared.runtime.settings import LISTENERS, LISTENERS_PER_CLIENT

RETRY_AFTER_S: Final = 10


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
        """Occupies one slot for the client of this connection. Raises TooManyListenersError."""
        client = client_of(scope)
        if self._by_client[client] >= self._per_client:
            raise TooManyListenersError(f"{self._per_client} event streams to one address are the most there may be")
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
