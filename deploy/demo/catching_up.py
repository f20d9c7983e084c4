"""Waits until all projections have applied all accepted streams: stream by stream, by version, so the result is exact.

For each projection only the kinds of stream that it reads are waited for.

The streams that were accepted last are checked first: once they are applied, so are nearly all others, and the time at which they
were applied is known to a few milliseconds, regardless of the number of streams.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from deploy.demo.read_stores import DemoStore
from shared.read_models import is_of, named

BATCH_SIZE: Final = 2000
POLL_S: Final = 0.01
DEAD_CHECK_INTERVAL_S: Final = 2.0
CATCH_UP_TIMEOUT_S: Final = 120.0
"""Without any progress."""

AppliedCallback = Callable[[str, int], None]
"""Takes a store's name and the number of streams that it has applied since the last call."""


class NotCaughtUpError(Exception):
    """A projection did not apply all streams; the message names it and the missing streams."""


async def wait_until_applied(
    stores: Sequence[DemoStore],
    versions: Mapping[str, int],
    on_applied: AppliedCallback,
    *,
    no_progress_timeout_s: float,
) -> dict[str, float]:
    """Store name → the time (``time.monotonic``) at which it was first seen to have applied every stream up to its version.

    Raises NotCaughtUpError as soon as a dead letter holds a stream, or after ``no_progress_timeout_s`` without progress.
    """
    try:
        async with asyncio.TaskGroup() as group:
            waiting = {
                store.name: group.create_task(
                    _wait(store, _batches(store.name, versions), on_applied, no_progress_timeout_s)
                )
                for store in stores
            }
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return {name: task.result() for name, task in waiting.items()}


def read_by(projection: str, versions: Mapping[str, int]) -> dict[str, int]:
    """Those of these streams that the projection reads."""
    kinds = named(projection).kinds
    return {stream: version for stream, version in versions.items() if is_of(kinds, stream)}


def _batches(projection: str, versions: Mapping[str, int]) -> list[Mapping[str, int]]:
    streams = list(read_by(projection, versions).items())[::-1]
    return [dict(streams[start : start + BATCH_SIZE]) for start in range(0, len(streams), BATCH_SIZE)]


async def _wait(
    store: DemoStore, batches: Sequence[Mapping[str, int]], on_applied: AppliedCallback, no_progress_timeout_s: float
) -> float:
    complete_at = time.monotonic()
    for batch in batches:
        waiting = dict(batch)
        progress_at = checked_at = time.monotonic()
        waited = False
        while True:
            behind = set(await store.behind(waiting))
            now = time.monotonic()
            if len(behind) < len(waiting):
                on_applied(store.name, len(waiting) - len(behind))
                progress_at = now
            waiting = {stream: version for stream, version in waiting.items() if stream in behind}
            if not waiting:
                break
            waited = True
            if now - checked_at > DEAD_CHECK_INTERVAL_S:
                checked_at = now
                await _check_progress(store, waiting, now - progress_at > no_progress_timeout_s)
            await asyncio.sleep(POLL_S)
        if waited or batch is batches[0]:
            complete_at = now
    return complete_at


async def _check_progress(store: DemoStore, waiting: Mapping[str, int], timed_out: bool) -> None:
    if dead := await store.dead(list(waiting)):
        raise NotCaughtUpError(f"{store.name} has dead letters: {'; '.join(dead)}")
    if timed_out:
        some = ", ".join(list(waiting)[:3])
        raise NotCaughtUpError(f"{store.name} makes no progress: {len(waiting)} streams are missing, such as {some}")
