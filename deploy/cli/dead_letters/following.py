"""Follows a replay job until it is settled: completed or halted, with no letter under way."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from deploy.cli.dead_letters.store import OperationsDatabase, open_operations_database
from deploy.cli.screen import console
from deploy.cli.terminal import NEGATIVE, fail
from shared.runtime.postgres import is_outage
from shared.runtime.settings import Settings
from shared.views.operations import JobState, JobView

if TYPE_CHECKING:
    from rich.progress import Progress

POLL_INTERVAL_S: Final = 0.5
MAX_OUTAGE_S: Final = 60.0
"""The longest that the operations database may be unavailable meanwhile."""

_HALTED: Final = (JobState.STOPPED, JobState.CANCELLED, JobState.PAUSED)


def is_settled(job: JobView) -> bool:
    return job.state is JobState.COMPLETED or (job.state in _HALTED and job.under_way == 0)


def all_succeeded(job: JobView) -> bool:
    """Whether the job itself resolved all its letters; letters resolved, discarded or edited by others do not count."""
    return job.state is JobState.COMPLETED and job.succeeded == job.total


async def follow(settings: Settings, job_id: int) -> JobView:
    """The job when it has settled; progress is shown on stderr.

    A database that becomes unavailable meanwhile is retried for MAX_OUTAGE_S; one that is unavailable at the start is an error at once.
    """
    with _progress_bar(job_id) as show:
        deadline = 0.0
        while True:
            try:
                async with open_operations_database(settings) as database:
                    while True:
                        job = await _existing_job(database, job_id)
                        show(job)
                        if is_settled(job):
                            return job
                        deadline = time.monotonic() + MAX_OUTAGE_S
                        await asyncio.sleep(POLL_INTERVAL_S)
            except Exception as error:
                if not is_outage(error) or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(POLL_INTERVAL_S)


class JobProgressBar:
    def __init__(self, progress: "Progress", job_id: int) -> None:
        self._progress = progress
        self._task = progress.add_task(f"job {job_id}", total=None, state="", failed=0)

    def __call__(self, job: JobView) -> None:
        done = job.succeeded + job.failed + job.skipped
        self._progress.update(self._task, total=job.total, completed=done, state=job.state, failed=job.failed)


async def _existing_job(database: OperationsDatabase, job_id: int) -> JobView:
    job = await database.job(job_id)
    if job is None:
        raise fail(f"there is no job {job_id}", NEGATIVE)
    return job


@contextmanager
def _progress_bar(job_id: int) -> Iterator[JobProgressBar]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}, {task.fields[failed]} failed", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        yield JobProgressBar(progress, job_id)
