"""What a run of verify is asked to do, and how much it did."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    content: bool = True
    sample: int | None = None
    """The number of streams whose content is compared; None: all."""
    seed: int = 0
    recheck_interval_s: float = 1.0
    """Wait between two checks of a suspect."""
    stalled_s: float = 5.0
    """A projection without progress for this long is stalled."""
    max_wait_s: float = 30.0
    """Maximum wait for events in transit."""


@dataclass(slots=True)
class Tally:
    """How much was verified."""

    streams: int = 0
    compared: int = 0
    """Streams whose content was compared."""
    unsettled: int = 0
    """Figures that changed too fast, for too long, to be compared."""
    seconds: float = 0.0
