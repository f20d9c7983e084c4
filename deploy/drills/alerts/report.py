"""The report of the alert drill, for people and for programs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One alert in one fault. ``fired_s``: seconds after the fault; ``cleared_s``: after it was mended. None: not within the limit."""

    fault: str
    alert: str
    fired_s: float | None
    cleared_s: float | None

    @property
    def passed(self) -> bool:
        return self.fired_s is not None and self.cleared_s is not None


@dataclass(frozen=True, kw_only=True)
class AlertReport:
    limit_s: float
    observations: Sequence[Observation]
    others: Sequence[str]
    """Further alerts that fired meanwhile: ``fault: alert``. What follows from a fault is no error; Alertmanager holds some of it back."""

    @property
    def passed(self) -> bool:
        return bool(self.observations) and all(each.passed for each in self.observations)

    def as_json(self) -> dict[str, Any]:
        return {"passed": self.passed, **asdict(self)}


def show(report: AlertReport, console: Console) -> None:
    table = Table("fault", "alert", "fires after", "clears after", box=None, header_style="bold")
    for each in report.observations:
        table.add_row(each.fault, each.alert, _seconds(each.fired_s, report), _seconds(each.cleared_s, report))
    console.print(table)
    for line in report.others:
        console.print(f"also: {line}", markup=False, highlight=False)
    console.print("[bold green]passed[/]" if report.passed else "[bold red]failed[/]")


def _seconds(found: float | None, report: AlertReport) -> str:
    return f"not within {report.limit_s:.0f} s" if found is None else f"{found:.0f} s"
