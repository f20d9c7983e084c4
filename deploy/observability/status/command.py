"""``tidemark status``: one screen: is anything lost, held, late or stopped, and what to type next."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from deploy.cli.screen import console, print_json, printable, table
from deploy.cli.terminal import Output
from deploy.observability.status.sources import read
from deploy.run import environment
from shared.runtime.settings import Settings
from shared.status.findings import Finding, Kind, findings, hints
from shared.status.snapshot import Snapshot
from shared.views.progress import FreshnessStatus

MAX_SHOWN: Final = 12
"""Findings of one kind that are listed; the rest are counted."""
STYLES: Final[Mapping[Kind, str]] = {
    Kind.LOST: "bold red",
    Kind.HELD: "yellow",
    Kind.GROWING: "yellow",
    Kind.LATE: "yellow",
    Kind.STOPPED: "bold red",
    Kind.UNKNOWN: "magenta",
}


def run_status(settings: Settings, output: Output) -> bool:
    """Print it; returns whether all is well."""
    found = asyncio.run(read(settings, environment.running() | dict(os.environ)))
    every = findings(found)
    if output is Output.JSON:
        print_json(as_json(found, every))
    else:
        show(found, every, console())
    return not every


def as_json(found: Snapshot, every: Sequence[Finding]) -> dict[str, Any]:
    outbox = found.outbox
    return {
        "well": not every,
        "at": found.at.isoformat(),
        "findings": [
            {"kind": one.kind.value, "where": one.where, "what": one.what, "next": one.next or None} for one in every
        ],
        "hints": list(hints(found)),
        "down": dict(found.down),
        "projections": None
        if found.projections is None
        else {one.projection: one.model_dump(mode="json", exclude={"projection"}) for one in found.projections},
        "outbox": None if outbox is None else {"pending": outbox.pending, "oldest_seconds": outbox.oldest_s},
        "dead_letters": None if found.groups is None else sum(group.count for group in found.groups),
        "verified_at": None if found.verified is None else found.verified.finished_at.isoformat(),
    }


def show(found: Snapshot, every: Sequence[Finding], screen: Console) -> None:
    for kind in Kind:
        some = [one for one in every if one.kind is kind]
        if not some:
            nothing = ("nothing that the parts which answer know of", "yellow") if found.down else ("nothing", "green")
            screen.print(Text(f"{kind.value:8}", "bold").append(*nothing))
            continue
        for number, one in enumerate(some[:MAX_SHOWN]):
            label = kind.value if not number else ""
            screen.print(Text(f"{label:8}", STYLES[kind]).append(f"{printable(one.where)}: {printable(one.what, 600)}"))
            if one.next:
                screen.print(Text(f"        → {one.next}", "cyan"))
        if len(some) > MAX_SHOWN:
            screen.print(f"        … and {len(some) - MAX_SHOWN} more; --output json has them")
    _show_projections(found, screen)
    for hint in hints(found):
        screen.print(hint)
    screen.print(Text("all is well", "bold green") if not every else Text(f"{len(every)} findings", "bold red"))


def _show_projections(found: Snapshot, screen: Console) -> None:
    rows = table("projection", "status", "age", "applied", "held", numeric=("age", "applied", "held"))
    for one in found.projections or ():
        age = "" if one.lag_seconds is None else f"{max(0.0, one.lag_seconds):.1f} s"
        style = "green" if one.status is FreshnessStatus.CURRENT else "red"
        rows.add_row(one.projection, Text(one.status.value, style), age, f"{one.events_applied:,}", f"{one.held:,}")
    if found.projections:
        screen.print()
        screen.print(rows)
    if found.outbox is not None:
        screen.print(f"outbox: {found.outbox.pending:,} events, the oldest {found.outbox.oldest_s:.1f} s")
