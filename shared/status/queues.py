"""What was seen of RabbitMQ's queues at one moment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

LANES: Final = "lanes"


@dataclass(frozen=True)
class QueueStates:
    """By label: a queue's name, or ``<projector> lanes``."""

    waiting: Mapping[str, int]
    """Messages, in the longest of them."""
    unconsumed: Mapping[str, int]
    """How many of those that should have a consumer have none."""
    missing: Sequence[str]
