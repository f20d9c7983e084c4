"""One run of the devices demo on a running system: sends the readings, waits until telemetry has them, compares, verifies."""

import asyncio
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Final

import httpx

from deploy.demo.catching_up import CATCH_UP_TIMEOUT_S, wait_until_applied
from deploy.demo.devices.expected_figures import expected_figures
from deploy.demo.devices.report import DevicesReport, Line
from deploy.demo.devices.source import (
    END_OF_QUARTER,
    METRICS,
    REPEATED,
    SITES,
    commands,
    in_sending_order,
    readings,
    weather_file,
)
from deploy.demo.devices.store_figures import Telemetry, store_figures
from deploy.demo.display import Display
from deploy.demo.outcomes import OutcomeRecorder
from deploy.demo.read_stores import PostgresReadStore
from deploy.demo.system import settings_for
from deploy.run.resource_usage import resource_usages
from deploy.sending.sender import CommandSender
from deploy.servers.provide import Servers
from deploy.verify.command import verify
from deploy.verify.options import Options
from shared.runtime.postgres import connect_pool

NAME: Final = "telemetry"
LATEST: Final = "9999"


async def flow(
    servers: Servers, query_url: str, display: Display, pids: Callable[[], Mapping[str, int]], *, whole_year: bool
) -> DevicesReport:
    """``pids``: the processes whose resource usage the report includes. Raises UnansweredCommandsError, NotCaughtUpError, SourceError."""
    display.print_line("reading the weather at three airports")
    file = weather_file()
    once = await asyncio.to_thread(partial(readings, file, whole_year=whole_year))
    sent = in_sending_order(once)
    limits = {name: (_limit(one, "low"), _limit(one, "high")) for name, one in METRICS.items()}
    before = LATEST if whole_year else END_OF_QUARTER
    expected = await asyncio.to_thread(expected_figures, file, limits, before, len(once[::REPEATED]))
    messages = list(commands(sent))
    display.print_line(
        f"sending {len(messages):,} commands with {len(sent):,} readings in random order, some of them twice"
    )
    display.begin("outcomes", len(messages))
    recorder = OutcomeRecorder(display)
    began = time.monotonic()
    tally = await CommandSender(servers.rabbitmq_url, name="demo").send(iter(messages), recorder.on_outcome)
    pool = await connect_pool(servers.stores[NAME], schema=NAME, read_only=True)
    try:
        display.begin(NAME, len(recorder.versions))
        await wait_until_applied(
            [PostgresReadStore(NAME, pool)],
            recorder.versions,
            display.advance,
            no_progress_timeout_s=CATCH_UP_TIMEOUT_S,
        )
    finally:
        pool.terminate()
    seconds = time.monotonic() - began
    async with httpx.AsyncClient(base_url=query_url, trust_env=False, timeout=30) as client:
        found = await store_figures(Telemetry(client), tuple(sorted(METRICS)), tuple(SITES))
    costs = resource_usages(pids())
    verified = await verify(settings_for(servers), Options(), display, projections=[NAME])
    lines = [Line(name, value, found.get(name)) for name, value in expected.items()]
    lines.append(Line("findings of verify", 0, sum(verified.counts.values())))
    return DevicesReport(
        commands=len(messages),
        rejected=dict(tally.rejected),
        readings=len(sent),
        seconds=seconds,
        lines=lines,
        costs=costs,
    )


def _limit(metric: Mapping[str, str], name: str) -> Decimal | None:
    return Decimal(metric[name]) if name in metric else None
