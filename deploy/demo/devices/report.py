"""The result of the devices demo: one document, shown as a table or as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.table import Table

from deploy.run.resource_usage import ResourceUsage


@dataclass(frozen=True, slots=True)
class Line:
    """A figure of the source, and of telemetry."""

    name: str
    source: Any
    telemetry: Any

    @property
    def equal(self) -> bool:
        return bool(self.source == self.telemetry)


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicesReport:
    """Times are in seconds. ``seconds``: from the first command sent until telemetry had applied the last."""

    commands: int
    rejected: Mapping[str, int]
    readings: int
    """How many were sent, repeated ones included."""
    seconds: float
    lines: list[Line]
    costs: Mapping[str, ResourceUsage] = field(default_factory=dict)

    @property
    def equal(self) -> bool:
        return not self.rejected and all(line.equal for line in self.lines)

    def as_json(self) -> dict[str, Any]:
        """Decimals are text."""
        return {
            "equal": self.equal,
            "commands": self.commands,
            "rejected": dict(self.rejected),
            "readings": self.readings,
            "readings_per_second": round(self.readings / self.seconds),
            "seconds": round(self.seconds, 3),
            "figures": [
                {
                    "name": line.name,
                    "source": _shown(line.source),
                    "telemetry": _shown(line.telemetry),
                    "equal": line.equal,
                }
                for line in self.lines
            ],
            "processes": {name: asdict(cost) for name, cost in self.costs.items()},
        }


def show(report: DevicesReport, console: Console) -> None:
    """Print the report as tables."""
    table = Table(title="source against telemetry", title_justify="left")
    table.add_column("figure", no_wrap=True)
    for name in ("source", "telemetry"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    for line in report.lines:
        verdict = "[green]equal[/]" if line.equal else "[bold red]NOT EQUAL[/]"
        table.add_row(line.name, _shown(line.source), _shown(line.telemetry), verdict)
    console.print(table)
    for code, count in report.rejected.items():
        console.print(f"[bold red]rejected: {code}: {count:,}[/]")
    console.print(
        f"{report.commands:,} commands with {report.readings:,} readings in {report.seconds:.2f} s:"
        f" {report.readings / report.seconds:,.0f} readings a second end to end"
    )
    usage = Table("process", "peak resident MiB", "CPU s", title="memory and CPU", title_justify="left")
    for name, cost in report.costs.items():
        usage.add_row(name, f"{cost.peak_mib:,.1f}", f"{cost.cpu_s:,.2f}")
    console.print(usage)


def _shown(value: Any) -> str:
    if isinstance(value, list) and len(value) > 2:
        return f"{len(value):,} of them"
    if isinstance(value, list):
        return " … ".join(map(_shown, value))
    return format(value, "f") if isinstance(value, Decimal) else f"{value:,}"
