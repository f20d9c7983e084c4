"""The result of a run of the practice's demo: one document, shown as a table or as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deploy.demo.comparison import ComparedFigure
from deploy.run.resource_usage import ResourceUsage


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    sent: int
    accepted: int
    rejected: Mapping[str, int]
    """By code."""
    examples: Mapping[str, str]
    seconds: float
    """From the first command until the last one was visible in all stores."""
    lag_seconds: Mapping[str, float]
    """By store: from the last outcome until the last accepted stream was visible."""
    lines: Sequence[ComparedFigure]
    rows_of_others: int = 0
    """Doctors, patients and bookings that this run did not make; with any, sums cannot be equal."""
    costs: Mapping[str, ResourceUsage] = field(default_factory=dict)

    @property
    def comparable(self) -> bool:
        return not self.rows_of_others

    @property
    def equal(self) -> bool:
        return self.comparable and all(line.equal for line in self.lines)

    def as_json(self) -> dict[str, Any]:
        """The report as a JSON document."""
        return {
            "equal": self.equal,
            "comparable": self.comparable,
            "commands": {"sent": self.sent, "accepted": self.accepted, "rejected": dict(self.rejected)},
            "seconds": round(self.seconds, 3),
            "lag_seconds": {store: round(seconds, 3) for store, seconds in self.lag_seconds.items()},
            "rows_of_others": self.rows_of_others,
            "figures": [
                {"name": line.name.strip(), "model": line.source, "verdict": verdict(line), **line.stores}
                for line in self.lines
            ],
            "processes": {name: asdict(cost) for name, cost in self.costs.items()},
        }


def verdict(line: ComparedFigure) -> str:
    return "equal" if line.equal else "NOT EQUAL"


def show(report: Report, console: Console) -> None:
    """Print the report as tables."""
    table = Table("figure", title="a plain model of the practice against the system", title_justify="left")
    for name in ("model", "system"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    for line in report.lines:
        colour = "green" if line.equal else "bold red"
        found = ", ".join(f"{store}: {_shown(value, line.source)}" for store, value in line.stores.items())
        table.add_row(escape(line.name), _shown(line.source), found, f"[{colour}]{verdict(line)}[/]")
    console.print(table)
    if not report.comparable:
        console.print(
            f"[yellow]The stores have {report.rows_of_others:,} doctors, patients and bookings of others: sums differ.[/]"
        )
    refused = ", ".join(f"{code} {count:,}" for code, count in sorted(report.rejected.items()))
    lag = ", ".join(f"{store} {seconds * 1000:,.0f} ms" for store, seconds in report.lag_seconds.items())
    console.print(
        f"{report.sent:,} commands in {report.seconds:.1f} s: {report.accepted:,} accepted; refused: {refused}"
    )
    console.print(f"such as: {escape('; '.join(report.examples.values()))}")
    console.print(f"last outcome → visible: {lag}")


def _shown(value: Any, source: Any = None) -> str:
    """A list by its length; what differs from the model's by what is different."""
    if not isinstance(value, tuple):
        return f"{value:,}" if isinstance(value, int | float) else str(value)
    if source is None:
        return f"{len(value):,}"
    if value == source:
        return f"the same {len(value):,}"
    wrong = [each for each in value if each not in source] or [each for each in source if each not in value]
    return escape(f"{len(value):,}, such as {wrong[:1]}")
