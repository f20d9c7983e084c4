"""What was seen of RabbitMQ's queues at one moment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

LANES: Final = "lanes"


class QueueDepth(NamedTuple):
    messages: int
    """Those that wait, without those that a consumer has."""
    consumers: int


@dataclass(frozen=True)
class QueueStates:
    """By label: a queue's name, or ``<projector> lanes``."""

    waiting: Mapping[str, int]
    """Messages, in the longest of them."""
    unconsumed: Mapping[str, int]
    """How many of those that should have a consumer have none."""
    missing: Sequence[str]
    depths: Mapping[str, QueueDepth] = field(default_factory=dict)
    """Each queue that there is, by its name."""
