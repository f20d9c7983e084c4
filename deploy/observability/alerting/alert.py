"""What an alert is: its rule, its runbook, and one case in which it fires and one in which it stays silent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

Severity = Literal["page", "ticket"]
"""``page``: an operator has to act now, at any hour. ``ticket``: on the next working day."""

EVERY_S: Final = 15
SLOW_S: Final = 240
"""Seconds between the samples of a case, and between evaluations; the second for what takes hours."""


@dataclass(frozen=True)
class Case:
    """``series``: series → values in promtool's notation, ``every_s`` of the alert apart. ``at``: when the alert is looked at."""

    series: Mapping[str, str]
    at: str
    labels: Mapping[str, str] = field(default_factory=dict)
    """The labels of the alert that fires, severity aside; of a silent case none."""


@dataclass(frozen=True)
class Alert:
    """``summary``: one line; ``{{ $labels.x }}`` is a label. ``steps``: what an operator does, and types (lines that begin with ``$``)."""

    name: str
    severity: Severity
    expression: str
    summary: str
    meaning: str
    steps: Sequence[str]
    fires: Case
    silent: Case
    lasts: str = ""
    """For how long the expression has to hold before the alert fires; empty: at once."""
    every_s: int = EVERY_S

    @property
    def runbook(self) -> str:
        return f"deploy/observability/runbooks/{self.name}.md"
