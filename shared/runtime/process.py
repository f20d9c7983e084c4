"""Running a deployable: its core tasks, signals and readiness.

A process runs as long as all its core tasks do. When one of them ends, for whatever reason, the process stops and exits with 1:
a half-dead worker is worse than a dead one. SIGTERM and SIGINT set ``stopping``; tasks then have ``GRACE_S`` seconds to finish
the current batch before they are cancelled, and the process exits with 0.
"""

import asyncio
import gc
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Final, TypeVar

import uvloop

from shared.messaging.announcing import Announcer
from shared.observability import connections, logs, metrics, sampling, tracing
from shared.observability.exposition import Exposition
from shared.runtime import descriptors, failpoints
from shared.runtime.health import Probe, TroubleLog, troubles
from shared.runtime.reasons import reason
from shared.runtime.settings import SettingError, Settings

log: Final = logging.getLogger(__name__)

GRACE_S: Final = 15.0
HEALTH_EVERY_S: Final = 1.0
STARTUP_S: Final = 5.0
"""During this time after its start a process does not announce what it still waits for."""
GC_YOUNG_OBJECTS: Final = 200_000
"""A batch makes tens of thousands of short-lived objects; with the default of 700 the collector would run dozens of times in each."""

T = TypeVar("T")


class _Lines:
    form: logs.Format = "text"
    """That of the lines of this process."""


class CannotStartError(RuntimeError):
    """A prerequisite of this process is missing; the message says which, in one line."""


def require_loopback(host: str, setting: str) -> None:
    """Raises CannotStartError for an address that other machines reach: authentication is off. ``setting``: where the address is from."""
    try:
        addresses = {ip_address(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except (OSError, ValueError) as error:
        raise CannotStartError(f"{setting} names {host}, which is no address of a machine: {error}") from error
    if not all(address.is_loopback for address in addresses):
        raise CannotStartError(
            f"TIDEMARK_AUTH=off is for this machine alone, and {host} in {setting} is reached from others:"
            " use 127.0.0.1, or leave authentication on"
        )


class Stopped(Exception):  # not an error: the process was asked to stop while it waited
    """Current work stays unacknowledged, or in its table, for the next process."""


async def pause(stopping: asyncio.Event, seconds: float) -> None:
    """Sleep. Raises Stopped as soon as the process stops."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopping.wait()
    if stopping.is_set():
        raise Stopped


class Process:
    """One deployable, under the name that ``tidemark up`` uses."""

    def __init__(self, name: str, *, runtime_dir: str = "", address: str = "") -> None:
        self.name = name
        self._address = f" {address}" if address else ""
        self.stopping = asyncio.Event()
        self.samplers: list[sampling.Sampler] = [connections.sample]
        """They set the gauges of ``/metrics``, once a second."""
        self._health_file = Path(runtime_dir) / f"{name}.json" if runtime_dir else None

    async def run(
        self,
        workers: Mapping[str, Callable[[], Awaitable[None]]],
        *,
        background: Mapping[str, Callable[[], Awaitable[None]]],
        probes: Mapping[str, Probe],
        starts_without: Collection[str] = (),
        announcer: Announcer | None = None,
    ) -> int:
        """Run until a signal arrives or a task ends; return the exit code.

        ``workers`` watch ``stopping`` and end by themselves; ``background`` tasks serve them and are cancelled after them.
        ``starts_without``: probes that may still fail when ``tidemark ready`` is printed. ``announcer`` publishes the current
        problems once a second, and the process's departure when it was asked to stop.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        names = {asyncio.create_task(_awaited(start)): name for name, start in {**workers, **background}.items()}
        working = [task for task, name in names.items() if name in workers]
        stop = asyncio.create_task(_until(self.stopping))
        health = asyncio.create_task(self._report_health(probes, starts_without, announcer))
        await asyncio.wait({stop, health, *names}, return_when=asyncio.FIRST_COMPLETED)
        ended = [] if self.stopping.is_set() else [task for task in names if task.done()]
        self.stopping.set()
        for task in ended:
            log.critical("%s: core task %s ended: %s", self.name, names[task], _end_reason(task))
        await asyncio.wait(working, timeout=GRACE_S)
        rest = [task for task in (*names, health, stop) if not task.done()]
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest, timeout=5)
        if announcer is not None and not ended:
            await announcer.leave()
        return 1 if ended else 0

    async def _report_health(
        self, probes: Mapping[str, Probe], starts_without: Collection[str], announcer: Announcer | None
    ) -> None:
        """Print ``tidemark ready`` once, log problems, and write the health file, which ``tidemark health <name>`` reads."""
        announced, reported_at, began, trouble_log = False, 0.0, time.monotonic(), TroubleLog(self.name)
        gauges, sampled_at = sampling.HealthGauges(list(probes)), 0.0
        while True:
            found = troubles(probes)
            trouble_log.note(found)
            if not announced and not found.keys() - set(starts_without):
                announced = True
                _freeze_startup_objects()
                ready = f"tidemark ready: {self.name}{self._address}"
                print(logs.line(self.name, ready, form=_Lines.form), flush=True)
            now = time.monotonic()
            if now - sampled_at >= HEALTH_EVERY_S:
                sampled_at = now
                gauges.set(found)
                sampling.sample(self.samplers)
            if now - reported_at >= HEALTH_EVERY_S and (announced or now - began >= STARTUP_S):
                reported_at = now
                if announcer is not None:
                    announcer.announce(found)
            if self._health_file is not None:
                document = {"name": self.name, "ready": not found, "troubles": found, "at": time.time()}
                await asyncio.to_thread(_write_atomically, self._health_file, json.dumps(document))
            await asyncio.sleep(HEALTH_EVERY_S if announced else 0.05)


def execute(name: str, main: Callable[[Settings], Awaitable[int]]) -> None:
    """Run ``main`` on uvloop and exit with its code; an error at the start is one line on stderr and exit code 1."""
    try:
        settings = Settings()
        descriptors.raise_limit()
        failpoints.arm(name, settings.failpoint)
        _Lines.form = settings.log_format
        logs.set_up(name, level=settings.log_level, by_module=settings.log_levels, form=settings.log_format)
        metrics.begin(name)
        tracing.begin(name, on=settings.traces == "on", ratio=settings.traces_ratio)
        if settings.metrics_port:
            Exposition(settings.metrics_host, settings.metrics_port)
        code = uvloop.run(_awaited(lambda: main(settings)))
    except (SettingError, CannotStartError, ValueError) as error:
        words = f"{name}: {' '.join(str(error).split())}"
        print(logs.line(name, words, form=_Lines.form, level=logging.CRITICAL), file=sys.stderr)
        code = 1
    sys.stdout.flush()
    tracing.end()
    # Hanging library threads must not keep a stopped process alive.
    os._exit(code)


async def _awaited(start: Callable[[], Awaitable[T]]) -> T:
    return await start()


async def _until(event: asyncio.Event) -> None:
    await event.wait()


def _end_reason(task: asyncio.Task[None]) -> str:
    if task.cancelled():
        return "cancelled"
    error = task.exception()
    if error is not None:
        log.error("a core task failed", exc_info=error)
    return reason(error) if error is not None else "returned"


def _freeze_startup_objects() -> None:
    """Exempt the objects built before readiness from garbage collection: they live as long as the process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_YOUNG_OBJECTS, 10, 10)


def _write_atomically(path: Path, text: str) -> None:
    """Replace the file atomically: a reader sees the old text or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    temporary.replace(path)
