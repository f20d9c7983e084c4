"""The report of verify, for people and for programs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from deploy.cli.screen import printable
from deploy.verify.findings import Finding, Kind
from deploy.verify.options import Tally

NOT_WRONG: Final = frozenset({Kind.DISCARDED})
"""Kinds that are reported, but are not wrong."""
ADVICE: Final[Mapping[Kind, str]] = {
    Kind.MISSING: "--heal has the events sent again",
    Kind.BEHIND: "--heal has the events sent again",
    Kind.AHEAD: "the event store has fewer events than the read store: was it restored? tidemark projections rebuild {name}",
    Kind.DIFFERENT: "only a rebuild repairs it: tidemark projections rebuild {name}",
    Kind.STRAY: "only a rebuild repairs it: tidemark projections rebuild {name}",
    Kind.LAW: "what is decided, or what {name} makes of it, is wrong: its rows must state what the events of these streams add up to",
    Kind.HELD: "tidemark dead-letters list --projector {name}, fix what fails, and replay",
}
BROKEN_EVENT_STORE: Final = "the event store itself has a hole: restore it from a backup"
BROKEN_LAW: Final = "what was decided does not add up: each finding names its streams; compensate with commands, and fix what decided it"


@dataclass(frozen=True)
class Report:
    generations: Mapping[str, int]
    content: str
    """``all``, ``none``, or how many streams with which seed."""
    tally: Tally
    counts: Mapping[tuple[str, Kind], int]
    findings: list[Finding]
    """The first findings, up to the limit."""
    healed: int | None
    """Number of streams whose missing events were requested; None: without ``--heal``."""
    incomplete: Mapping[str, str] = field(default_factory=dict)
    """Read model → the kinds of stream that its generation lacks, and what to do: what of them is missing cannot be sent again."""

    @property
    def equal(self) -> bool:
        return not self.differences

    @property
    def differences(self) -> int:
        """How many findings are wrong."""
        return sum(count for (_, kind), count in self.counts.items() if kind not in NOT_WRONG)

    def as_json(self) -> dict[str, Any]:
        counts: dict[str, dict[str, int]] = {name: {} for name in self.generations}
        for (projection, kind), count in self.counts.items():
            counts.setdefault(projection, {})[kind.value] = count
        return {
            "equal": self.equal,
            "generations": dict(self.generations),
            "content": self.content,
            **asdict(self.tally),
            "counts": counts,
            "asked_again": self.healed,
            "incomplete": dict(self.incomplete),
            "findings": [asdict(one) for one in self.findings],
        }


def show(report: Report, console: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("projection", "generation", *Kind):
        table.add_column(str(column), justify="left" if column == "projection" else "right")
    names = [*report.generations, *({name for name, _ in report.counts} - set(report.generations))]
    for name in names:
        counts = [report.counts.get((name, kind), 0) for kind in Kind]
        cells = [Text(str(count), _style(kind) if count else "") for kind, count in zip(Kind, counts, strict=True)]
        table.add_row(name, str(report.generations.get(name, "")), *cells)
    console.print(table)
    for finding in report.findings:
        line = Text(f"{finding.projection}: ")
        line.append(finding.kind.value, _style(finding.kind))
        console.print(line.append(f" {printable(finding.place)} {printable(_detail_text(finding.detail), 600)}"))
    more = sum(report.counts.values()) - len({(one.projection, one.kind, one.place) for one in report.findings})
    if more > 0:
        console.print(f"… and {more:,} more; --limit shows them")
    for advice in _advice(report):
        console.print(advice)
    tally = report.tally
    compared = f"{tally.compared:,} with their content ({report.content})" if tally.compared else "versions only"
    console.print(f"{tally.streams:,} streams in {tally.seconds:.1f} s, {compared}")
    if tally.unsettled:
        console.print(f"{tally.unsettled:,} figures changed too fast to be compared: run this again at a quieter time")
    result = Text("all equal", "bold green") if report.equal else Text("not equal", "bold red")
    console.print(result)


def _advice(report: Report) -> list[str]:
    lines = []
    for (name, kind), count in report.counts.items():
        if count and kind in ADVICE:
            advice = ADVICE[kind].format(name=name)
            if name not in report.generations:
                advice = BROKEN_LAW if kind is Kind.LAW else BROKEN_EVENT_STORE
            if kind is Kind.MISSING and name in report.incomplete:
                advice = f"it {report.incomplete[name]}"
            lines.append(f"{name}, {kind.value}: {advice}")
    return list(dict.fromkeys(lines))


def _detail_text(detail: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in detail.items())


def _style(kind: Kind) -> str:
    return {Kind.DISCARDED: "magenta", Kind.HELD: "yellow"}.get(kind, "red")
