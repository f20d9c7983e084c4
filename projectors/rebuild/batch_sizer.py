"""Adapts the size of history batches so that, beside live events, each takes about the same time on any machine. Pure.

A live event waits for the running batches, so they must be short; but each batch has a fixed cost, so they should not be shorter than
necessary. The duration depends on the machine and its load, and is measured for each batch. It is measured per byte, because an order
with ten lines costs many times as much as a customer, and orders directly follow customers.
"""

import math
from typing import Final

MAX_MESSAGES: Final = 10
"""Messages, of up to 100 events each, in one batch while no live events arrive."""
BATCH_TARGET_S: Final = 0.2
INITIAL_BYTES: Final = 20_000
"""Bytes assumed to take the target time, until the first batch is measured."""
SLOWER_WEIGHT: Final = 0.5
FASTER_WEIGHT: Final = 0.2
"""The weight of the latest measurement: batches shrink quickly and grow slowly."""


class BatchSizer:
    """``target_s``: the time that a batch may take beside live events, in seconds."""

    def __init__(self, target_s: float = BATCH_TARGET_S) -> None:
        self._target_s = target_s
        self._seconds_per_byte = target_s / INITIAL_BYTES

    def record(self, size: int, seconds: float) -> None:
        """Record a measurement: a batch with ``size`` bytes of messages was applied in ``seconds``, without waiting times."""
        if size:
            change = seconds / size - self._seconds_per_byte
            self._seconds_per_byte += (SLOWER_WEIGHT if change > 0 else FASTER_WEIGHT) * change

    def size(self, *, beside_live: bool) -> float:
        """Maximum bytes of messages for the next batch."""
        return self._target_s / max(self._seconds_per_byte, 1e-12) if beside_live else math.inf
