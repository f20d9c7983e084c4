"""``tidemark drill alerts``: a store is frozen, the relay is killed, an event is poison: do the alerts fire, and end when it is mended?

    no alert fires ──▶ fault ──seconds until each expected alert fires──▶ mend ──seconds until it no longer does──▶ no alert fires ──▶ next

On separate servers and data, with a Prometheus of its own that has every rule and scrapes every process, as ``tidemark up --observe`` does.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import httpx

from deploy.demo.display import Display
from deploy.drills.alerts.faults import Expected, Fault
from deploy.drills.alerts.report import AlertReport, Observation
from deploy.drills.alerts.system import DrilledSystem, DrillFailedError, running
from deploy.run.deployables import DEPLOYABLES
from deploy.servers.provide import Servers

LIMIT_S: Final = 120.0
"""Within which an alert has to fire after the fault, and to end after it is mended."""
QUIET_LIMIT_S: Final = 300.0
"""Within which nothing fires any more: what is no page may take longer."""
POLL_S: Final = 0.5

Firing = Sequence[Mapping[str, str]]


class Watch:
    """Looks at the alerts that fire, and remembers all that did."""

    def __init__(self, system: DrilledSystem) -> None:
        self._system = system
        self.seen: set[str] = set()

    async def until(self, holds: Callable[[Firing], bool], within_s: float) -> bool:
        """Whether it ``holds`` of what fires within this time."""
        try:
            async with asyncio.timeout(within_s):
                while not holds(await self.firing()):  # noqa: ASYNC110 - Prometheus evaluates
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            return False
        return True

    async def firing(self) -> Firing:
        try:
            found = await self._system.firing()
        except httpx.HTTPError as error:
            raise DrillFailedError(f"Prometheus does not answer: {error!r}") from error
        self.seen |= {_shown(labels) for labels in found}
        return found

    async def seconds_until(self, alerts: Sequence[Expected], *, firing: bool) -> dict[Expected, float]:
        """The seconds until each of these fires, or does not any more; those that take longer than LIMIT_S are left out."""
        began = time.monotonic()
        found: dict[Expected, float] = {}

        def all_found(now: Firing) -> bool:
            for alert in alerts:
                if alert not in found and alert.is_in(now) == firing:
                    found[alert] = time.monotonic() - began
            return len(found) == len(alerts)

        await self.until(all_found, LIMIT_S)
        return found


async def alerts(servers: Servers, faults: Sequence[Fault], folder: Path, display: Display) -> AlertReport:
    """The report. Raises DrillFailedError, ServersError, ChildExitedError."""
    observations: list[Observation] = []
    others: list[str] = []
    async with running(servers, folder) as system:
        placing = asyncio.create_task(system.place_all_the_time())
        try:
            await system.supervisor.supervise(_until_scraped(system))
            for fault in faults:
                found, also = await system.supervisor.supervise(_practise(system, fault, display))
                observations += found
                others += also
        finally:
            placing.cancel()
    return AlertReport(limit_s=LIMIT_S, observations=observations, others=others)


async def _practise(system: DrilledSystem, fault: Fault, display: Display) -> tuple[list[Observation], list[str]]:
    watch = Watch(system)
    if not await watch.until(lambda firing: not firing, QUIET_LIMIT_S):
        raise DrillFailedError(f"before {fault.name}, these fire already: {', '.join(sorted(watch.seen))}")
    watch.seen.clear()
    display.print_line(f"{fault.name}: {fault.what}")
    await fault.cause(system)
    fired = await watch.seconds_until(fault.alerts, firing=True)
    for alert in fault.alerts:
        display.print_line(f"  {alert} {_after('fires', fired.get(alert))}")
    await fault.mend(system)
    cleared = await watch.seconds_until(list(fired), firing=False)
    for alert in fired:
        display.print_line(f"  mended: {alert} {_after('ends', cleared.get(alert))}")
    expected = {alert.name for alert in fault.alerts}
    return [
        Observation(fault=fault.name, alert=str(alert), fired_s=fired.get(alert), cleared_s=cleared.get(alert))
        for alert in fault.alerts
    ], [f"{fault.name}: {name}" for name in sorted(watch.seen) if name.partition("{")[0] not in expected]


async def _until_scraped(system: DrilledSystem) -> None:
    try:
        async with asyncio.timeout(LIMIT_S):
            while await system.scraped() != set(DEPLOYABLES):  # noqa: ASYNC110 - Prometheus scrapes
                await asyncio.sleep(POLL_S)
    except TimeoutError as error:
        raise DrillFailedError("Prometheus does not scrape every process") from error


def _after(what: str, seconds: float | None) -> str:
    return f"{what} after {seconds:.0f} s" if seconds is not None else f"does not {what[:-1]} within {LIMIT_S:.0f} s"


def _shown(labels: Mapping[str, str]) -> str:
    kept = {key: value for key, value in labels.items() if key not in ("alertname", "severity", "instance", "job")}
    return f"{labels['alertname']}{{{', '.join(f'{key}={value}' for key, value in sorted(kept.items()))}}}"
