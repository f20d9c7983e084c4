"""Decides which commands are tried alone, in order, because one of them may be killing workers. Pure.

After a crash every message that a worker held counts one delivery, not only the cause. So the number of previous deliveries of a message
decides:

    less than 2    with its neighbours, as one unit of work
    2              alone
    3 or more      its commands one by one, each recorded before it is tried (``undecided``); one that was tried twice without an
                   outcome is not tried again, but dead-lettered (process-killed)

The first fatal command takes five deliveries, each further one among the same neighbours two more: the queue's delivery limit
(``topology.COMMAND_DELIVERY_LIMIT``) allows all of them to be fatal, and no neighbour reaches it. Smaller batches would keep the counts
lower, but lose the order: what one consumer leaves is redelivered before anything else, but behind what another has left.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from shared.messaging.consuming import Delivery

SUSPICIOUS_AFTER: Final = 2
DEADLY_AFTER: Final = 3
MAX_DEATHS: Final = 2


class ProcessKilledError(RuntimeError):
    """The worker died at each attempt to handle this command alone."""


def is_deadly(delivery: Delivery) -> bool:
    return delivery.deliveries >= DEADLY_AFTER


def units_of_work(deliveries: Sequence[Delivery]) -> Iterator[list[Delivery]]:
    """Messages below SUSPICIOUS_AFTER together, each other one alone; all in order."""
    unit: list[Delivery] = []
    for delivery in deliveries:
        if delivery.deliveries < SUSPICIOUS_AFTER:
            unit.append(delivery)
            continue
        if unit:
            yield unit
            unit = []
        yield [delivery]
    if unit:
        yield unit
