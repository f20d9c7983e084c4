"""The result of the rebuild drill, as tables and as JSON."""

from dataclasses import asdict, dataclass, field
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deploy.compare.comparison import Comparison
from deploy.drills.rebuild.live_orders import Failure
from deploy.run.resource_usage import ResourceUsage

TARGET_LAG_S: Final = 1.0
MAX_SHOWN_FAILURES: Final = 5


@dataclass
class RebuildResult:
    """One projection: rebuilt, compared while orders arrived, activated, rolled back, activated again."""

    projection: str
    generation: int
    events: int
    history_s: float
    """From the request until all of history was applied."""
    ready_s: float
    """From the request until it was ready, including the comparison with events that arrived meanwhile."""
    lags: list[float]
    """Live lags of this projection while it was rebuilt, in seconds, ascending."""
    comparison: Comparison
    switches: list[float] = field(default_factory=list)
    """Duration of each of the three switches, from the request to its reply, in seconds."""
    final_comparison: Comparison | None = None
    """Both generations compared again without load."""

    @property
    def rate(self) -> float:
        """History events per second."""
        return self.events / self.history_s if self.history_s else 0.0

    @property
    def equal(self) -> bool:
        return self.comparison.equal and self.final_comparison is not None and self.final_comparison.equal

    def as_json(self) -> dict[str, Any]:
        return {
            "projection": self.projection,
            "generation": self.generation,
            "events": self.events,
            "history_seconds": round(self.history_s, 3),
            "ready_seconds": round(self.ready_s, 3),
            "events_per_second": round(self.rate),
            "live_lag_seconds": percentiles(self.lags),
            "switch_seconds": [round(one, 4) for one in self.switches],
            "compared": self.comparison.model_dump(mode="json"),
            "compared_when_quiet": None
            if self.final_comparison is None
            else self.final_comparison.model_dump(mode="json"),
        }


@dataclass
class DrillReport:
    orders: int
    rebuilt: list[RebuildResult]
    unchanged: dict[str, int]
    """Projection → number of dashboard responses that equalled the first."""
    errors: int
    changed: int
    live: int
    """Accepted live orders; each was read back from three stores with its token."""
    counted_exactly: bool
    """Whether analytics counts exactly the live orders at the end."""
    live_lags: dict[str, list[float]]
    failures: list[Failure]
    verified: bool
    """Whether ``tidemark verify`` finds the new generations equal to the event store."""
    costs: dict[str, ResourceUsage]

    @property
    def passed(self) -> bool:
        return (
            all(one.equal for one in self.rebuilt)
            and self.counted_exactly
            and not (self.errors or self.changed or self.failures)
            and self.verified
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "good": self.passed,
            "orders": self.orders,
            "rebuilt": [one.as_json() for one in self.rebuilt],
            "queries": {"as_before": self.unchanged, "errors": self.errors, "changed": self.changed},
            "live_orders": {
                "accepted": self.live,
                "counted_exactly": self.counted_exactly,
                "lag_seconds": {projection: percentiles(lags) for projection, lags in self.live_lags.items()},
            },
            "troubles": [asdict(one) for one in self.failures],
            "verified": self.verified,
            "processes": {name: asdict(cost) for name, cost in self.costs.items()},
        }


_PERCENTILES: Final = {"p50": 0.5, "p99": 0.99, "max": 1.0}


def percentiles(ordered: list[float]) -> dict[str, float | None]:
    """The 50th and 99th percentile and the maximum of these seconds, which are in ascending order."""
    return {name: _rounded(percentile(ordered, part)) for name, part in _PERCENTILES.items()}


def percentile(ordered: list[float], part: float) -> float | None:
    """The value at this fraction of the ascending values (1.0: the maximum); None without values."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else None


def show(report: DrillReport, console: Console) -> None:
    for table in (_rebuilds(report), _comparisons(report), _service(report)):
        console.print(table)
    for failure in report.failures[:MAX_SHOWN_FAILURES]:
        console.print(f"[bold red]{escape(failure.what)}[/]: {escape(failure.why)}", highlight=False)
    result = "[green]all equal, no query was affected[/]" if report.passed else "[bold red]FAILED[/]"
    console.print(result, highlight=False)


def _rebuilds(report: DrillReport) -> Table:
    table = Table(
        *("projection", "events", "a second", "ready", "live lag p50 / p99 / max", "switch, back, switch"),
        title="rebuilt while orders arrived and dashboards queried",
        title_justify="left",
    )
    for one in report.rebuilt:
        slow = (percentile(one.lags, 1.0) or 0) > TARGET_LAG_S
        lag = " / ".join(_ms(percentile(one.lags, part)) for part in _PERCENTILES.values())
        table.add_row(
            *(one.projection, f"{one.events:,}", f"{one.rate:,.0f}", f"{one.ready_s:.1f} s"),
            f"[yellow]{lag}[/]" if slow else lag,
            ", ".join(_ms(seconds) for seconds in one.switches),
        )
    return table


def _comparisons(report: DrillReport) -> Table:
    table = Table("projection", "compared while orders arrived", "compared without load")
    for one in report.rebuilt:
        table.add_row(one.projection, _comparison_cell(one.comparison), _comparison_cell(one.final_comparison))
    return table


def _service(report: DrillReport) -> Table:
    table = Table("meanwhile", "", title_justify="left", show_header=False)
    unchanged = ", ".join(f"{count:,} {projection}" for projection, count in report.unchanged.items())
    table.add_row("unchanged dashboard responses", unchanged)
    table.add_row("errors", f"{report.errors:,}")
    table.add_row("changed dashboard responses", f"{report.changed:,}")
    table.add_row("live orders, each read back at once", f"{report.live:,}")
    table.add_row("counted exactly by analytics", "yes" if report.counted_exactly else "NO")
    for projection, lags in report.live_lags.items():
        table.add_row(
            f"outcome → {projection}", " / ".join(_ms(percentile(lags, part)) for part in _PERCENTILES.values())
        )
    table.add_row("tidemark verify", "equal" if report.verified else "DIFFERENT")
    memory = ", ".join(f"{name} {cost.peak_mib:,.0f}" for name, cost in report.costs.items())
    table.add_row("peak resident MiB", memory)
    return table


def _comparison_cell(found: Comparison | None) -> str:
    if found is None:
        return "–"
    undecided = sum(part.undecided for part in found.parts) + found.positions.moving
    rows = sum(part.rows[0] for part in found.parts)
    equality = "[green]equal[/]" if found.equal else "[bold red]DIFFERENT[/]"
    return f"{equality}, {rows:,} rows in {found.seconds:.1f} s" + (f", {undecided} undecided" if undecided else "")


def _ms(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds * 1000:,.0f} ms"


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)
