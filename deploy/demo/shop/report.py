"""The result of a demo run: one document, shown as tables or as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any, Final, Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deploy.demo.comparison import ComparedFigure
from deploy.run.resource_usage import ResourceUsage
from shared.read_models import NAMES

Verdict = Literal["equal", "NOT EQUAL", "not comparable"]

REFUSAL: Final = "validation-failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Times are in seconds, money in cents. ``refused_by_source``: number of baskets that the system must refuse."""

    sent: int
    resent: int
    decided_before: int = 0
    """Number of outcomes that were decided in an earlier run of the same commands."""
    accepted: int
    rejected: Mapping[str, int]
    examples: Mapping[str, str]
    refused_by_source: int
    baskets: int
    seconds: float
    """From sending the first order until the last one was visible in all three stores."""
    lag_seconds: Mapping[str, float]
    """By store: from the last outcome until the last accepted stream was visible."""
    outcome_seconds: Mapping[str, float | None]
    """p50 and p99 of the time from sending a command to its outcome, with a full window."""
    freshness: Sequence[Mapping[str, Any]]
    lines: Sequence[ComparedFigure]
    streams_of_others: Mapping[str, int] = field(default_factory=dict)
    """By store: number of streams that this run did not send; if there are any, the stores' sums cannot equal the source's."""
    costs: Mapping[str, ResourceUsage] = field(default_factory=dict)

    @property
    def stores(self) -> Sequence[str]:
        """Those that have any of the demo's figures."""
        return [name for name in NAMES if any(name in line.stores for line in self.lines)]

    @property
    def comparable(self) -> bool:
        return not any(self.streams_of_others.values())

    @property
    def refusals_equal(self) -> bool:
        """Whether exactly the baskets that must be refused were refused, and no other command."""
        return dict(self.rejected) == ({REFUSAL: self.refused_by_source} if self.refused_by_source else {})

    @property
    def equal(self) -> bool:
        return self.refusals_equal and (not self.comparable or all(line.equal for line in self.lines))

    @property
    def orders_per_second(self) -> float:
        return self.baskets / self.seconds if self.seconds else 0.0

    def verdict(self, line: ComparedFigure) -> Verdict:
        if not self.comparable:
            return "not comparable"
        return "equal" if line.equal else "NOT EQUAL"

    def as_json(self) -> dict[str, Any]:
        """The report as a JSON document."""
        return {
            "equal": self.equal,
            "comparable": self.comparable,
            "commands": {
                "sent": self.sent,
                "resent": self.resent,
                "decided_before": self.decided_before,
                "accepted": self.accepted,
                "rejected": {
                    code: {"count": count, "example": self.examples.get(code)} for code, count in self.rejected.items()
                },
            },
            "refused": {
                "source": self.refused_by_source,
                "system": self.rejected.get(REFUSAL, 0),
                "equal": self.refusals_equal,
            },
            "orders_per_second": round(self.orders_per_second, 1),
            "seconds": round(self.seconds, 3),
            "lag_seconds": {store: round(seconds, 3) for store, seconds in self.lag_seconds.items()},
            "outcome_seconds": self.outcome_seconds,
            "freshness": list(self.freshness),
            "streams_of_others": dict(self.streams_of_others),
            "figures": [
                {"name": line.name, "source": _json_value(line.source), "verdict": self.verdict(line)}
                | {store: _json_value(line.stores.get(store)) for store in self.stores}
                for line in self.lines
            ],
            "processes": {name: asdict(cost) for name, cost in self.costs.items()},
        }


def show(report: Report, console: Console) -> None:
    """Print the report as tables."""
    console.print(_figures(report))
    refusals = "equal" if report.refusals_equal else "NOT EQUAL"
    console.print(
        f"baskets refused ({REFUSAL}): source {report.refused_by_source:,}, "
        f"system {report.rejected.get(REFUSAL, 0):,}: [{_colour(refusals)}]{refusals}[/]"
    )
    if not report.comparable:
        others = ", ".join(f"{count:,} in {store}" for store, count in report.streams_of_others.items() if count)
        console.print(
            f"[yellow]The stores hold streams that this run did not send ({others}), "
            "so their sums differ from the source's: nothing was compared.[/]"
        )
    console.print(_commands(report))
    console.print(_resource_usage(report))


def _figures(report: Report) -> Table:
    table = Table("figure", title="source against the stores", title_justify="left")
    for name in ("source", *report.stores):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    for line in report.lines:
        verdict = report.verdict(line)
        cells = [_cell(line, store) for store in report.stores]
        table.add_row(line.name, _format_value(line.name, line.source), *cells, f"[{_colour(verdict)}]{verdict}[/]")
    return table


def _cell(line: ComparedFigure, store: str) -> str:
    if store not in line.stores:
        return "–"
    value = line.stores[store]
    if isinstance(value, tuple) and value == line.source:
        return f"the same {len(value)}"
    return _format_value(line.name, value)


def _format_value(name: str, value: Any) -> str:
    if isinstance(value, tuple):
        return "\n".join(f"{key}  {_amount(name, number)}" for key, number in value)
    return _amount(name, value)


def _amount(name: str, value: int) -> str:
    return f"{value / 100:,.2f}" if "revenue" in name else f"{value:,}"


def _commands(report: Report) -> Table:
    table = Table("run", "", title_justify="left", show_header=False)
    again = f" ({report.resent:,} sent again)" if report.resent else ""
    table.add_row("commands sent", f"{report.sent:,}{again}")
    table.add_row("accepted", f"{report.accepted:,}")
    if report.decided_before:
        table.add_row("decided in an earlier run", f"{report.decided_before:,}: sent again, answered the same")
    for code, count in report.rejected.items():
        table.add_row(escape(f"rejected: {code}"), f"{count:,}, such as: {escape(report.examples.get(code, ''))}")
    table.add_row("orders a second", f"{report.orders_per_second:,.0f} end to end, in {report.seconds:.2f} s")
    outcome = ", ".join(f"{name} {_milliseconds(value)}" for name, value in report.outcome_seconds.items())
    table.add_row("sent → outcome", f"{outcome} (window full)")
    lag = ", ".join(f"{store} {_milliseconds(seconds)}" for store, seconds in report.lag_seconds.items())
    table.add_row("last outcome → visible", lag)
    for one in report.freshness:
        known = one.get("lag_seconds")
        seconds = "unknown" if known is None else f"{known:.2f} s old"
        table.add_row(f"freshness: {one['projection']}", f"{seconds}, {one.get('events_applied', 0):,} events applied")
    return table


def _resource_usage(report: Report) -> Table:
    table = Table("process", title="memory and CPU", title_justify="left")
    table.add_column("peak resident MiB", justify="right")
    table.add_column("CPU s", justify="right")
    for name, cost in report.costs.items():
        table.add_row(name, f"{cost.peak_mib:,.1f}", f"{cost.cpu_s:,.2f}")
    return table


def _milliseconds(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds * 1000:,.0f} ms"


def _colour(verdict: str) -> str:
    return {"equal": "green", "NOT EQUAL": "bold red"}.get(verdict, "yellow")


def _json_value(value: Any) -> Any:
    """The value with tuples as lists and dates as ISO 8601 text."""
    if isinstance(value, tuple):
        return [_json_value(part) for part in value]
    return value.isoformat() if isinstance(value, date) else value
