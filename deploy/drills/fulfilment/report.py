"""The report of the fulfilment drill, for people and for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, kw_only=True)
class FulfilmentReport:
    orders: int
    results: Mapping[str, int]
    """How fulfilments were done → orders."""
    stuck: Sequence[str]
    """Fulfilments that are not done, with what they wait for; the first twenty."""
    kills: Mapping[str, int]
    seconds: float
    """Until the last of them was done."""
    verified: bool
    """Every store equals the event store, and every conservation law holds."""
    findings: Sequence[str]

    @property
    def passed(self) -> bool:
        return self.verified and not self.stuck and sum(self.results.values()) == self.orders

    def as_json(self) -> dict[str, Any]:
        return {"passed": self.passed, **asdict(self), "per_second": round(self.orders / self.seconds, 1)}


def show(report: FulfilmentReport, console: Console) -> None:
    table = Table("result", "orders", box=None, header_style="bold")
    for result, orders in sorted(report.results.items(), key=lambda found: -found[1]):
        table.add_row(result, f"{orders:,}")
    console.print(table)
    killed = ", ".join(f"{name} {count}" for name, count in report.kills.items()) or "none"
    console.print(f"{report.orders:,} orders in {report.seconds:.1f} s; kills: {sum(report.kills.values())} ({killed})")
    for line in (*report.stuck, *report.findings):
        console.print(line, markup=False, highlight=False)
    console.print(
        f"stuck: {len(report.stuck)}; every store and every law: {'equal' if report.verified else 'not equal'}"
    )
    console.print("[bold green]passed[/]" if report.passed else "[bold red]failed[/]")
