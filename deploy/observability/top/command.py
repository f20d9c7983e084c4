"""``tidemark top``: rates, lag, held streams, letters and CPU of the running system, again and again, from the metrics of its processes."""

import asyncio
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import httpx
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from deploy.cli.screen import console, print_json, printable, table
from deploy.cli.terminal import Output
from deploy.observability.top.scraping import Readings, Scrape, scrape
from shared.observability.targets import Target

FIRST_S: Final = 1.0
MAX_ROUTES: Final = 8


def run_top(targets: Sequence[Target], every_s: float, output: Output, *, once: bool) -> bool:
    """Show it until Ctrl-C, or ``once``; returns whether every process answered at last."""
    try:
        return asyncio.run(_run(targets, every_s, output, once=once or not sys.stdout.isatty()))
    except KeyboardInterrupt:
        return True


async def _run(targets: Sequence[Target], every_s: float, output: Output, *, once: bool) -> bool:
    async with httpx.AsyncClient(trust_env=False) as client:
        before = await scrape(client, targets)
        await asyncio.sleep(FIRST_S)
        if once or output is Output.JSON:
            readings = Readings(before, await scrape(client, targets))
            if output is Output.JSON:
                print_json(as_json(readings))
            else:
                console().print(screen(readings))
            return all(each.error is None for each in readings.now)
        with Live(console=Console(), screen=True, auto_refresh=False) as live:
            while True:
                now = await scrape(client, targets)
                live.update(screen(Readings(before, now)), refresh=True)
                before = now
                await asyncio.sleep(every_s)


def screen(readings: Readings) -> Group:
    return Group(_headline(readings), "", _processes(readings), "", _projections(readings), "", _queries(readings))


def as_json(readings: Readings) -> dict[str, Any]:
    return {
        "commands_per_second": readings.rate("tidemark_commands_total", "outcome"),
        "outbox": {
            "pending": _single(readings, "tidemark_outbox_pending_events"),
            "oldest_seconds": _single(readings, "tidemark_outbox_oldest_seconds"),
        },
        "dead_letters": readings.highest("tidemark_dead_letters", "projection", state="dead"),
        "projections": {
            name: {
                "applied_per_second": rate,
                "lag_seconds": readings.highest("tidemark_projection_lag_seconds", "projection").get(name),
                "held": _held(readings, name),
            }
            for name, rate in readings.rate("tidemark_events_applied_total", "projection").items()
        },
        "processes": [
            {"name": each.target.name, "url": each.target.url, "error": each.error, **_of_process(readings, each)}
            for each in readings.now
        ],
        "requests_per_second": readings.rate("tidemark_http_request_seconds_count", "route"),
    }


def _headline(readings: Readings) -> Text:
    commands = readings.rate("tidemark_commands_total", "outcome")
    outcomes = ", ".join(f"{rate:,.1f}/s {outcome}" for outcome, rate in sorted(commands.items())) or "none yet"
    pending, oldest = (_single(readings, f"tidemark_outbox_{what}") for what in ("pending_events", "oldest_seconds"))
    outbox = "not known" if pending is None else f"{pending:,.0f} events, oldest {oldest or 0:.1f} s"
    letters = sum(readings.highest("tidemark_dead_letters", "projection", state="dead").values())
    line = Text("commands ", "bold").append(f"{outcomes}   ", "default")
    line.append("outbox ", "bold").append(f"{outbox}   ").append("dead letters ", "bold")
    return line.append(f"{letters:,.0f}", "red" if letters else "green")


def _processes(readings: Readings) -> Table:
    rows = table("process", "state", "CPU", "memory", "what is wrong", numeric=("CPU", "memory"))
    for each in readings.now:
        found = _of_process(readings, each)
        if each.error is not None:
            rows.add_row(each.target.name, Text("down", "bold red"), "", "", printable(each.error))
            continue
        wrong = ", ".join(f"{name} for {seconds:.0f} s" for name, seconds in found["unhealthy"].items())
        state = Text("ready", "green") if found["ready"] else Text("not ready", "red")
        cpu = "" if found["cpu"] is None else f"{100 * found['cpu']:.0f} %"
        rows.add_row(each.target.name, state, cpu, f"{found['memory_mib']:.0f} MiB", printable(wrong))
    return rows


def _of_process(readings: Readings, each: Scrape) -> dict[str, Any]:
    alone = Readings([one for one in readings.before if one.target == each.target], [each])
    cpu = alone.rate("process_cpu_seconds_total", "")
    unhealthy = alone.highest("tidemark_component_unhealthy_seconds", "component")
    return {
        "ready": each.value("tidemark_process_ready") == 1,
        "cpu": cpu.get(""),
        "memory_mib": (each.value("process_resident_memory_bytes") or 0.0) / 2**20,
        "unhealthy": {name: seconds for name, seconds in unhealthy.items() if seconds > 0},
    }


def _projections(readings: Readings) -> Table:
    numeric = ("applied/s", "lag", "visible, 99 %", "gap", "retrying", "dead", "letters")
    rows = table("projection", *numeric, numeric=numeric)
    lag = readings.highest("tidemark_projection_lag_seconds", "projection")
    visible = readings.quantile(0.99, "tidemark_command_visible_seconds", "projection")
    letters = readings.highest("tidemark_dead_letters", "projection", state="dead")
    for name, rate in sorted(readings.rate("tidemark_events_applied_total", "projection").items()):
        held = _held(readings, name)
        rows.add_row(
            name,
            f"{rate:,.1f}",
            _seconds(lag.get(name)),
            f"≤ {_seconds(visible[name])}" if name in visible else "",
            *(_count(held.get(state)) for state in ("gap", "retrying", "dead")),
            _count(letters.get(name)),
        )
    return rows


def _queries(readings: Readings) -> Table:
    rows = table("route", "requests/s", "99 %", numeric=("requests/s", "99 %"))
    rates = readings.rate("tidemark_http_request_seconds_count", "route")
    slow = readings.quantile(0.99, "tidemark_http_request_seconds", "route")
    for route, rate in sorted(rates.items(), key=lambda each: -each[1])[:MAX_ROUTES]:
        if rate > 0:
            rows.add_row(printable(route), f"{rate:,.1f}", f"≤ {_seconds(slow.get(route))}")
    return rows


def _held(readings: Readings, projection: str) -> Mapping[str, float]:
    return readings.highest("tidemark_streams_held", "state", projection=projection)


def _single(readings: Readings, name: str) -> float | None:
    return readings.highest(name, "").get("")


def _count(value: float | None) -> Text:
    return Text("") if value is None else Text(f"{value:,.0f}", "red" if value else "")


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    return "> 60 s" if math.isinf(value) else f"{value:.3g} s"
