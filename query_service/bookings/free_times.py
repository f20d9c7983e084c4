"""Free times: exactly what is left of a range on the grid of slots when the busy times are taken out. Pure."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from shared.contracts.bookings import SLOT

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Span(NamedTuple):
    """``[start, end)``"""

    start: datetime
    end: datetime


def free_times(busy: Iterable[Span], within: Span, least: timedelta = SLOT) -> Iterator[Span]:
    """The longest spans within the range that overlap no busy one, in order; those shorter than ``least`` are left out.

    ``busy`` in any order, also overlapping and beyond the range. A range that does not begin or end on the grid is narrowed to it.
    """
    start = within.start + (_EPOCH - within.start) % SLOT
    until = within.end - (within.end - _EPOCH) % SLOT
    for taken in sorted(busy):
        if min(taken.start, until) - start >= least:
            yield Span(start, min(taken.start, until))
        start = max(start, taken.end)
    if until - start >= least:
        yield Span(start, until)
