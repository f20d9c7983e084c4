"""How much of history is taken at once: beside live events as much as is applied in a moment, on any machine. Pure.

A live event waits for the portions that are under way, so they are to be short; and each has its cost however short it is, so they
are to be no shorter than that. How long one takes depends on the machine and on what else it does, and is measured as they go; and it
goes by bytes, for an order of ten lines costs many times what a customer does, and comes right after customers.
"""

import math
from typing import Final

MOST: Final = 10
"""Messages of up to 100 events: a portion where no live events come."""
MOMENT_S: Final = 0.2
BEGINNING: Final = 20_000
"""Bytes that are taken for a moment's work until the first portion tells."""
SLOWER: Final = 0.5
FASTER: Final = 0.2
"""The weight of the latest portion: portions become shorter soon, and longer by and by."""


class BatchSizer:
    """``moment_s``: how long a portion may take beside live events, in seconds."""

    def __init__(self, moment_s: float = MOMENT_S) -> None:
        self._moment_s = moment_s
        self._seconds_a_byte = moment_s / BEGINNING

    def took(self, size: int, seconds: float) -> None:
        """A portion whose messages have so many bytes was applied in that time, waiting for its turn not counted."""
        if size:
            change = seconds / size - self._seconds_a_byte
            self._seconds_a_byte += (SLOWER if change > 0 else FASTER) * change

    def size(self, *, beside_live: bool) -> float:
        """Bytes of messages to take for the next portion, at most."""
        return self._moment_s / max(self._seconds_a_byte, 1e-12) if beside_live else math.inf
