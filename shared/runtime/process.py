"""Running a deployable: its core tasks, its signals, its readiness.

A process lives as long as all its core tasks do. When one of them ends, however it ended, the process stops and exits with 1:
a half-dead worker is worse than a dead one. SIGTERM and SIGINT set ``stopping``; tasks then have ``GRACE_S`` seconds to finish
the batch at hand before they are cancelled, and the process exits with 0.
"""

import asyncio
import gc
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import uvloop

from shared.messaging.announcing import Announcer
from shared.runtime import descriptors, failpoints
from shared.runtime.health import Probe, TroubleLog, troubles
from shared.runtime.reasons import reason
from shared.runtime.settings import MissingSettingError, Settings

log: Final = logging.getLogger(__name__)

GRACE_S: Final = 15.0
HEALTH_EVERY_S: Final = 1.0
STARTING_S: Final = 5.0
"""For so long nobody is told what a process still waits for at its start."""
GC_YOUNG_OBJECTS: Final = 200_000
"""A batch makes tens of thousands of objects that die young; the default of 700 has the collector run dozens of times in each."""

T = TypeVar("T")


class CannotStartError(RuntimeError):
    """Something this process needs is not to be had; the message says what, in one line."""


class Stopped(Exception):  # not a failure: the process was told to stop while it waited
    """What was at hand stays unacknowledged, or in its table, for the next one."""


async def pause(stopping: asyncio.Event, seconds: float) -> None:
    """Sleep; raises Stopped as soon as the process is stopping."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopping.wait()
    if stopping.is_set():
        raise Stopped


class Process:
    """One deployable, by the name that ``tidemark up`` knows it by."""

    def __init__(self, name: str, *, runtime_dir: str = "", address: str = "") -> None:
        self.name = name
        self._address = f" {address}" if address else ""
        self.stopping = asyncio.Event()
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
        """Run until a signal comes or a task ends; returns the exit code.

        ``workers`` watch ``stopping`` and end by themselves; ``background`` tasks serve them and are cancelled after them.
        ``starts_without``: probes that need not be well for ``tidemark ready``. ``announcer`` says once a second what is
        wrong, if anything, and goodbye when the process was told to stop.
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
            log.critical("%s: core task %s ended: %s", self.name, names[task], _reason(task))
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
        """Say ``tidemark ready`` once, and keep the health file: what ``tidemark health <name>`` reads. What is in it is logged, too."""
        announced, told_at, began, trouble_log = False, 0.0, time.monotonic(), TroubleLog(self.name)
        while True:
            found = troubles(probes)
            trouble_log.note(found)
            if not announced and not found.keys() - set(starts_without):
                announced = True
                _spare_what_stays()
                print(f"tidemark ready: {self.name}{self._address}", flush=True)
            now = time.monotonic()
            if now - told_at >= HEALTH_EVERY_S and (announced or now - began >= STARTING_S):
                told_at = now
                if announcer is not None:
                    announcer.tell(found)
            if self._health_file is not None:
                document = {"name": self.name, "ready": not found, "troubles": found, "at": time.time()}
                await asyncio.to_thread(_write_whole, self._health_file, json.dumps(document))
            await asyncio.sleep(HEALTH_EVERY_S if announced else 0.05)


def execute(name: str, main: Callable[[Settings], Awaitable[int]]) -> None:
    """Run ``main`` on uvloop and exit with its code; what stops it from starting is one line on stderr and exit code 1."""
    try:
        settings = Settings()
        descriptors.raise_limit()
        failpoints.arm(name, settings.failpoint)
        logging.basicConfig(level=settings.log_level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
        for noisy in ("aio_pika", "aiormq", "httpx"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        code = uvloop.run(_awaited(lambda: main(settings)))
    except (MissingSettingError, CannotStartError, ValueError) as error:
        print(f"{name}: {' '.join(str(error).split())}", file=sys.stderr)
        code = 1
    sys.stdout.flush()
    # Threads of libraries that hang must not keep a stopped process alive.
    os._exit(code)


async def _awaited(start: Callable[[], Awaitable[T]]) -> T:
    return await start()


async def _until(event: asyncio.Event) -> None:
    await event.wait()


def _reason(task: asyncio.Task[None]) -> str:
    if task.cancelled():
        return "cancelled"
    error = task.exception()
    if error is not None:
        log.error("a core task failed", exc_info=error)
    return reason(error) if error is not None else "returned"


def _spare_what_stays() -> None:
    """What a process has built by the time it is ready stays for its life: the collector need not walk it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_YOUNG_OBJECTS, 10, 10)


def _write_whole(path: Path, text: str) -> None:
    """Replace the file at once: a reader sees the old text or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    temporary.replace(path)
