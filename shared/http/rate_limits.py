"""How many requests an identity may make: ``burst`` at once, and ``rate`` a second on average (token bucket).

Implemented as the generic cell rate algorithm (ITU-T I.371, annex A): for each key one number, the time at which its bucket is full
again. In any time ``t``, whatever others do, a key is granted at most ``burst + rate × t`` requests. A refusal says after which time the
next one is granted.

Memory is bounded: at most ``capacity`` keys have a bucket of their own. Full buckets are forgotten, which changes nothing. While there
are more keys whose buckets are not full, the keys beyond share one. Each process counts for itself.

Requests without an identity, those with ``TIDEMARK_AUTH=off`` and those for public routes, are counted by the client's address.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from itertools import islice
from typing import Final

from shared.http.admission import HEALTH_PREFIX, sender_of
from shared.http.identities.identity import AnyConnection
from shared.http.problems import Problem
from shared.runtime.settings import Settings

CAPACITY: Final = 20_000
SWEEP: Final = 20
"""Most buckets that are looked at, to forget one, when a new key comes and there is no room."""
SECOND: Final = 1_000_000_000


RATE_LIMITS: Final = "rate_limits"
"""Key in the state of an application: its ``RateLimits``; absent or None: there is no limit."""


class RateLimitedError(Problem):
    """429: ``Retry-After`` says after how many seconds the next request is granted."""

    status = 429
    code = "rate-limited"

    def __init__(self, rate: float, burst: int, wait_s: float) -> None:
        detail = f"{rate:g} requests a second, and {burst} at once, are what one identity may send here"
        super().__init__(detail, headers={"Retry-After": str(max(1, math.ceil(wait_s)))})


class RateLimits:
    """``rate``: requests a second, more than 0; ``burst``: at least 1."""

    def __init__(
        self, rate: float, burst: int, *, capacity: int = CAPACITY, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self.rate = rate
        self.burst = burst
        self._interval = math.ceil(SECOND / rate)
        self._tolerance = (burst - 1) * self._interval
        self._capacity = capacity
        self._clock = clock
        self._full_at: OrderedDict[str, int] = OrderedDict()
        """By key, the least recently granted first; nanoseconds."""
        self._shared_full_at = 0

    def wait(self, key: str) -> float:
        """0 if the request is granted, which counts it; otherwise the seconds after which it would be."""
        now = self._clock()
        own = key in self._full_at or len(self._full_at) < self._capacity or self._forget(now)
        # A new key begins like the shared bucket, from which it may have been granted something just now.
        full_at = max(self._full_at.get(key, self._shared_full_at) if own else self._shared_full_at, now)
        if full_at - now > self._tolerance:
            return (full_at - now - self._tolerance) / SECOND
        if own:
            self._full_at[key] = full_at + self._interval
            self._full_at.move_to_end(key)
        else:
            self._shared_full_at = full_at + self._interval
        return 0.0

    def require(self, key: str) -> None:
        """Raises RateLimitedError unless the request is granted."""
        if wait_s := self.wait(key):
            raise RateLimitedError(self.rate, self.burst, wait_s)

    def __len__(self) -> int:
        """How many keys have a bucket of their own."""
        return len(self._full_at)

    def _forget(self, now: int) -> bool:
        """Forget a bucket that is full, one of those that were used least recently; whether there was one."""
        for key, full_at in islice(self._full_at.items(), SWEEP):
            if full_at <= now:
                del self._full_at[key]
                return True
        return False


def rate_limits(settings: Settings) -> RateLimits | None:
    """None if there is no limit. On a machine that nobody else reaches (``TIDEMARK_AUTH=off``) there is only one that was set."""
    wanted = settings.auth == "on" or "rate_limit" in settings.model_fields_set
    return RateLimits(settings.rate_limit, settings.rate_burst) if wanted and settings.rate_limit else None


def limit_rate(connection: AnyConnection) -> None:
    """Count a request; health checks are not counted. Raises RateLimitedError."""
    limits: RateLimits | None = connection.app.state.get(RATE_LIMITS)
    if limits is not None and not connection.scope["path"].startswith(HEALTH_PREFIX):
        limits.require(sender_of(connection.scope))
