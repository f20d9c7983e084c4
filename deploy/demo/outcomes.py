"""Which of a demo's commands were accepted, and when."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

from deploy.demo.display import Display
from deploy.sending.batches import CommandMessage
from deploy.sending.outcomes import Outcome


class OutcomeRecorder:
    """Records when the first order was sent, when the last outcome was received, and which commands were accepted."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._began_at = datetime.now(UTC)
        self.decided_before = 0
        """Number of outcomes that were decided in an earlier run of the same commands."""
        self.first_order_at = 0.0
        self.last_outcome_at = 0.0
        self.versions: dict[str, int] = {}
        """Stream of each accepted command → the stream's version after it, in the order of the outcomes."""

    def recording_start(self, orders: Iterator[CommandMessage]) -> Iterator[CommandMessage]:
        self.first_order_at = time.monotonic()
        yield from orders

    def on_outcome(self, outcome: Outcome) -> None:
        self.last_outcome_at = time.monotonic()
        if outcome.accepted:
            self.versions[outcome.stream] = outcome.version
        if outcome.decided_at is not None and outcome.decided_at < self._began_at:
            self.decided_before += 1
        self._display.advance("outcomes", 1)
