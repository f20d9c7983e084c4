"""Which commands are tried alone, in their order, because a worker may be dying of one of them. Pure.

After a crash every message that a worker held counts one delivery, the guilty one's neighbours too. So, by how often a message
has been delivered before:

    less than 2    with its neighbours, as one unit of work
    2              alone
    3 or more      its commands one by one, each written down before it is tried (``undecided``); one that was tried twice and has
                   no outcome is not tried again: it is a dead letter (process-killed)

The first death takes five, each other one among the same neighbours two more: the queue's delivery limit
(``topology.COMMAND_DELIVERY_LIMIT``) lets every one of them be guilty, and no neighbour reaches it. Taking fewer at a time would keep
the counts lower, and lose the order: what one consumer leaves is delivered again before anything else, but behind what another has left.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from shared.messaging.consuming import Delivery

SUSPICIOUS_AFTER: Final = 2
DEADLY_AFTER: Final = 3
MOST_DEATHS: Final = 2


class ProcessKilledError(RuntimeError):
    """Each time this command was tried alone the worker died."""


def is_deadly(delivery: Delivery) -> bool:
    return delivery.deliveries >= DEADLY_AFTER


def units(deliveries: Sequence[Delivery]) -> Iterator[list[Delivery]]:
    """Neighbours above suspicion together, each other one alone; all in their order."""
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
