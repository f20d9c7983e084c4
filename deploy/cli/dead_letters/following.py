"""Following a replay job until it is at rest: nothing of it is under way, and nothing more goes out by itself."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from deploy.cli.dead_letters.store import OperationsDatabase, opened
from deploy.cli.screen import console
from deploy.cli.terminal import NO, fail
from shared.runtime.postgres import is_outage
from shared.runtime.settings import Settings
from shared.views.operations import JobState, JobView

if TYPE_CHECKING:
    from rich.progress import Progress

EVERY_S: Final = 0.5
OUTAGE_S: Final = 60.0
"""The longest that the operations database may be away meanwhile."""

_HALTED: Final = (JobState.STOPPED, JobState.CANCELLED, JobState.PAUSED)


def at_rest(job: JobView) -> bool:
    return job.state is JobState.COMPLETED or (job.state in _HALTED and job.under_way == 0)


def all_succeeded(job: JobView) -> bool:
    """A letter that somebody else resolved, discarded or edited meanwhile is not one that this job has brought home."""
    return job.state is JobState.COMPLETED and job.succeeded == job.total


async def follow(settings: Settings, job_id: int) -> JobView:
    """The job as it is when it comes to rest; progress is shown on stderr.

    A database that goes away meanwhile has OUTAGE_S to come back; one that is away at the start is an error at once.
    """
    with _bar(job_id) as show:
        patience = 0.0
        while True:
            try:
                async with opened(settings) as database:
                    while True:
                        job = await _job(database, job_id)
                        show(job)
                        if at_rest(job):
                            return job
                        patience = time.monotonic() + OUTAGE_S
                        await asyncio.sleep(EVERY_S)
            except Exception as error:
                if not is_outage(error) or time.monotonic() > patience:
                    raise
                await asyncio.sleep(EVERY_S)


class Show:
    def __init__(self, progress: "Progress", job_id: int) -> None:
        self._progress = progress
        self._task = progress.add_task(f"job {job_id}", total=None, state="", failed=0)

    def __call__(self, job: JobView) -> None:
        done = job.succeeded + job.failed + job.skipped
        self._progress.update(self._task, total=job.total, completed=done, state=job.state, failed=job.failed)


async def _job(database: OperationsDatabase, job_id: int) -> JobView:
    job = await database.job(job_id)
    if job is None:
        raise fail(f"there is no job {job_id}", NO)
    return job


@contextmanager
def _bar(job_id: int) -> Iterator[Show]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}, {task.fields[failed]} failed", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        yield Show(progress, job_id)
