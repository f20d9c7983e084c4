"""What the drill came to, for people and for programs."""

from dataclasses import asdict, dataclass, field
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deploy.compare.comparison import Comparison
from deploy.drills.rebuild.live import Trouble
from deploy.run.resource_usage import ResourceUsage

WANTED_LAG_S: Final = 1.0
SHOWN: Final = 5


@dataclass
class Rebuilt:
    """One projection: rebuilt, compared while orders arrived, switched, switched back, switched again."""

    projection: str
    generation: int
    events: int
    history_s: float
    """From the order until all of history was applied."""
    ready_s: float
    """From the order until it was ready: what came meanwhile has been compared, too."""
    lags: list[float]
    """Live lag of this projection while it was rebuilt, in seconds, the smallest first."""
    comparison: Comparison
    switches: list[float] = field(default_factory=list)
    """How long each of the three took, from the order to its answer, in seconds."""
    quiet: Comparison | None = None
    """Both generations compared again when all was over."""

    @property
    def rate(self) -> float:
        """Events of history a second."""
        return self.events / self.history_s if self.history_s else 0.0

    @property
    def equal(self) -> bool:
        return self.comparison.equal and self.quiet is not None and self.quiet.equal

    def as_json(self) -> dict[str, Any]:
        return {
            "projection": self.projection,
            "generation": self.generation,
            "events": self.events,
            "history_seconds": round(self.history_s, 3),
            "ready_seconds": round(self.ready_s, 3),
            "events_per_second": round(self.rate),
            "live_lag_seconds": shares(self.lags),
            "switch_seconds": [round(one, 4) for one in self.switches],
            "compared": self.comparison.model_dump(mode="json"),
            "compared_when_quiet": None if self.quiet is None else self.quiet.model_dump(mode="json"),
        }


@dataclass
class DrillReport:
    orders: int
    rebuilt: list[Rebuilt]
    asked: dict[str, int]
    """Answers of dashboards that were as they must be, by projection."""
    errors: int
    changed: int
    live: int
    """Live orders accepted; each was read back from three stores with its token."""
    counted: bool
    """Whether analytics has exactly the live orders at the end."""
    live_lags: dict[str, list[float]]
    troubles: list[Trouble]
    verified: bool
    """What ``tidemark verify`` says of the new generations."""
    costs: dict[str, ResourceUsage]

    @property
    def good(self) -> bool:
        return (
            all(one.equal for one in self.rebuilt)
            and self.counted
            and not (self.errors or self.changed or self.troubles)
            and self.verified
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "good": self.good,
            "orders": self.orders,
            "rebuilt": [one.as_json() for one in self.rebuilt],
            "queries": {"as_before": self.asked, "errors": self.errors, "changed": self.changed},
            "live_orders": {
                "accepted": self.live,
                "counted_exactly": self.counted,
                "lag_seconds": {projection: shares(lags) for projection, lags in self.live_lags.items()},
            },
            "troubles": [asdict(one) for one in self.troubles],
            "verified": self.verified,
            "processes": {name: asdict(cost) for name, cost in self.costs.items()},
        }


_SHARES: Final = {"p50": 0.5, "p99": 0.99, "max": 1.0}


def shares(ordered: list[float]) -> dict[str, float | None]:
    """The median of these seconds, what all but one in a hundred do not exceed, and the most; the smallest comes first."""
    return {name: _rounded(share(ordered, part)) for name, part in _SHARES.items()}


def share(ordered: list[float], part: float) -> float | None:
    """The value that this part of them does not exceed."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else None


def show(report: DrillReport, console: Console) -> None:
    for table in (_rebuilds(report), _comparisons(report), _service(report)):
        console.print(table)
    for trouble in report.troubles[:SHOWN]:
        console.print(f"[bold red]{escape(trouble.what)}[/]: {escape(trouble.why)}", highlight=False)
    verdict = "[green]all is equal, and nobody noticed[/]" if report.good else "[bold red]NOT as it must be[/]"
    console.print(verdict, highlight=False)


def _rebuilds(report: DrillReport) -> Table:
    table = Table(
        *("projection", "events", "a second", "ready", "live lag p50 / p99 / max", "switch, back, switch"),
        title="rebuilt while orders arrived and dashboards asked",
        title_justify="left",
    )
    for one in report.rebuilt:
        slow = (share(one.lags, 1.0) or 0) > WANTED_LAG_S
        lag = " / ".join(_ms(share(one.lags, part)) for part in _SHARES.values())
        table.add_row(
            *(one.projection, f"{one.events:,}", f"{one.rate:,.0f}", f"{one.ready_s:.1f} s"),
            f"[yellow]{lag}[/]" if slow else lag,
            ", ".join(_ms(seconds) for seconds in one.switches),
        )
    return table


def _comparisons(report: DrillReport) -> Table:
    table = Table("projection", "compared while orders arrived", "compared when all was quiet")
    for one in report.rebuilt:
        table.add_row(one.projection, _compared(one.comparison), _compared(one.quiet))
    return table


def _service(report: DrillReport) -> Table:
    table = Table("meanwhile", "", title_justify="left", show_header=False)
    asked = ", ".join(f"{count:,} {projection}" for projection, count in report.asked.items())
    table.add_row("dashboards' answers as before", asked)
    table.add_row("errors", f"{report.errors:,}")
    table.add_row("other answers than before", f"{report.changed:,}")
    table.add_row("live orders, each read back at once", f"{report.live:,}")
    table.add_row("counted exactly by analytics", "yes" if report.counted else "NO")
    for projection, lags in report.live_lags.items():
        table.add_row(f"outcome → {projection}", " / ".join(_ms(share(lags, part)) for part in _SHARES.values()))
    table.add_row("tidemark verify", "nothing wrong" if report.verified else "SOMETHING IS WRONG")
    memory = ", ".join(f"{name} {cost.peak_mib:,.0f}" for name, cost in report.costs.items())
    table.add_row("peak resident MiB", memory)
    return table


def _compared(found: Comparison | None) -> str:
    if found is None:
        return "–"
    undecided = sum(part.undecided for part in found.parts) + found.positions.moving
    rows = sum(part.rows[0] for part in found.parts)
    said = "[green]equal[/]" if found.equal else "[bold red]DIFFERENT[/]"
    return f"{said}, {rows:,} rows in {found.seconds:.1f} s" + (f", {undecided} undecided" if undecided else "")


def _ms(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds * 1000:,.0f} ms"


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)
