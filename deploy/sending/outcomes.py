"""Outcomes of sent commands, parsed from the replies, and counted."""

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
    """One command's outcome: ``stream`` and ``version`` are set when it was accepted, ``code`` and ``message`` when it was rejected."""

    command_id: str
    command_type: str
    accepted: bool
    stream: str = ""
    version: int = 0
    code: str = ""
    message: str = ""
    errors: tuple[Any, ...] = ()
    decided_at: datetime | None = None
    """By the service's clock; earlier than the sending for a command that was decided before."""


def outcomes_in(body: bytes) -> Iterator[Outcome]:
    """The outcomes in a reply, single or batch, without pending notices (see ``pending_reasons_in``).

    Raises EnvelopeError when the body is not a reply.
    """
    for envelope, data in _replies(body):
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


def pending_reasons_in(body: bytes) -> Iterator[str]:
    """The reasons in a reply's pending notices: why commands have no outcome yet.

    Raises EnvelopeError when the body is not a reply.
    """
    for envelope, data in _replies(body):
        if envelope.get("type") == PENDING:
            yield f"{data.get('command_id', '')}: {data.get('message', '')}"


def _replies(body: bytes) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """(envelope, its data) for each event in the reply."""
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
    """Counts of one run; ``sent`` counts each command once, however often it was sent."""

    sent: int = 0
    resent: int = 0
    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    """By code."""
    examples: dict[str, str] = field(default_factory=dict)
    """The first message received with each code."""
    latencies: "array[float]" = field(default_factory=lambda: array("d"))
    """Seconds from the first time a command was sent to its outcome."""

    def count(self, outcome: Outcome, seconds: float) -> None:
        self.latencies.append(seconds)
        if outcome.accepted:
            self.accepted += 1
        else:
            self.rejected[outcome.code] += 1
            self.examples.setdefault(outcome.code, outcome.message)

    def latency(self, share: float) -> float | None:
        """The latency in seconds that this share of the commands (0.5: the median) did not exceed; None without outcomes."""
        return percentile(self.latencies, share)


def percentile(values: "array[float] | list[float]", share: float) -> float | None:
    """The nearest-rank percentile: the smallest value that at least this share of the values do not exceed."""
    if not values:
        return None
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]
