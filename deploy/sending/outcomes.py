"""What became of the commands that were sent: read from the answers, and counted."""

import math
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shared.messages.envelope import EnvelopeError, split
from shared.messages.outcomes import ACCEPTED, PENDING


@dataclass(frozen=True, slots=True)
class Outcome:
    """One command's outcome. ``stream`` and ``version`` are an accepted one's, ``code`` and ``message`` a rejected
    one's.
    """

    command_id: str
    command_type: str
    accepted: bool
    stream: str = ""
    version: int = 0
    code: str = ""
    message: str = ""
    errors: tuple[Any, ...] = ()
    decided_at: datetime | None = None
    """By the service's clock: long ago for a command that was sent before."""


def outcomes_in(body: bytes) -> Iterator[Outcome]:
    """The outcomes in an answer, single or batch; notices that there is none yet are left out (``notices_in``).

    Raises EnvelopeError for what is no answer.
    """
    for envelope, data in _answers(body):
        if envelope.get("type") == PENDING:
            continue
        yield Outcome(
            command_id=data.get("command_id", ""),
            command_type=data.get("command_type", ""),
            accepted=envelope.get("type") == ACCEPTED,
            stream=data.get("stream", ""),
            version=data.get("version", 0),
            code=data.get("code", ""),
            message=data.get("message", ""),
            errors=tuple(data.get("errors", ())),
            decided_at=_time(envelope.get("time")),
        )


def notices_in(body: bytes) -> Iterator[str]:
    """Why commands have no outcome yet, as an answer says. Raises EnvelopeError for what is no answer."""
    for envelope, data in _answers(body):
        if envelope.get("type") == PENDING:
            yield f"{data.get('command_id', '')}: {data.get('message', '')}"


def _answers(body: bytes) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """(envelope, its data) each."""
    for envelope in split(body):
        data = envelope.get("data") if isinstance(envelope, dict) else None
        if not isinstance(data, dict):
            raise EnvelopeError("an answer without data")
        yield envelope, data


def _time(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None


@dataclass(slots=True)
class Tally:
    """Counts of a run of sending; ``sent`` counts commands, however often each had to be sent."""

    sent: int = 0
    resent: int = 0
    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    """By code."""
    examples: dict[str, str] = field(default_factory=dict)
    """The first message seen with each code."""
    latencies: "array[float]" = field(default_factory=lambda: array("d"))
    """Seconds from the first sending of a command to its outcome."""

    def count(self, outcome: Outcome, seconds: float) -> None:
        self.latencies.append(seconds)
        if outcome.accepted:
            self.accepted += 1
        else:
            self.rejected[outcome.code] += 1
            self.examples.setdefault(outcome.code, outcome.message)

    def latency(self, share: float) -> float | None:
        """The latency, in seconds, that this share of commands (0.5: the median) did not exceed; None without any."""
        return percentile(self.latencies, share)


def percentile(values: "array[float] | list[float]", share: float) -> float | None:
    """The nearest-rank percentile: the least value that at least this share of the values do not exceed."""
    if not values:
        return None
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]
