"""Waiting until all projections have applied what was accepted: stream by stream, by version, so it cannot be fooled.

For each projection only the kinds of stream that it reads are waited for.

The last accepted streams are looked at first: when they are there, so is nearly everything, and the moment they
appear is known to a few milliseconds however many streams there are.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from deploy.demo.read_stores import DemoStore
from shared.read_models import is_of, named

AT_ONCE: Final = 2000
POLL_S: Final = 0.01
LOOK_FOR_DEAD_EVERY_S: Final = 2.0

Arrived = Callable[[str, int], None]
"""Takes a store's name and how many more streams are there."""


class NotCaughtUpError(Exception):
    """A projection has not come as far as it must; the message names it and the streams that are missing."""


async def wait_until_applied(
    stores: Sequence[DemoStore], versions: Mapping[str, int], arrived: Arrived, *, patience_s: float
) -> dict[str, float]:
    """When each store was first seen to have every stream at its version or above (``time.monotonic``), by name.

    Raises NotCaughtUpError as soon as a stream waits behind a dead letter, or when nothing has moved for
    ``patience_s``.
    """
    try:
        async with asyncio.TaskGroup() as group:
            waiting = {
                store.name: group.create_task(_wait(store, _portions(store.name, versions), arrived, patience_s))
                for store in stores
            }
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return {name: task.result() for name, task in waiting.items()}


def read_by(projection: str, versions: Mapping[str, int]) -> dict[str, int]:
    """Those of these streams that the projection reads."""
    kinds = named(projection).kinds
    return {stream: version for stream, version in versions.items() if is_of(kinds, stream)}


def _portions(projection: str, versions: Mapping[str, int]) -> list[Mapping[str, int]]:
    streams = list(read_by(projection, versions).items())[::-1]
    return [dict(streams[start : start + AT_ONCE]) for start in range(0, len(streams), AT_ONCE)]


async def _wait(store: DemoStore, portions: Sequence[Mapping[str, int]], arrived: Arrived, patience_s: float) -> float:
    complete_at = time.monotonic()
    for portion in portions:
        waiting = dict(portion)
        moved_at = looked_at = time.monotonic()
        waited = False
        while True:
            behind = set(await store.behind(waiting))
            now = time.monotonic()
            if len(behind) < len(waiting):
                arrived(store.name, len(waiting) - len(behind))
                moved_at = now
            waiting = {stream: version for stream, version in waiting.items() if stream in behind}
            if not waiting:
                break
            waited = True
            if now - looked_at > LOOK_FOR_DEAD_EVERY_S:
                looked_at = now
                await _check(store, waiting, now - moved_at > patience_s)
            await asyncio.sleep(POLL_S)
        if waited or portion is portions[0]:
            complete_at = now
    return complete_at


async def _check(store: DemoStore, waiting: Mapping[str, int], out_of_patience: bool) -> None:
    if dead := await store.dead(list(waiting)):
        raise NotCaughtUpError(f"{store.name} has dead letters: {'; '.join(dead)}")
    if out_of_patience:
        some = ", ".join(list(waiting)[:3])
        raise NotCaughtUpError(f"{store.name} is not getting on: {len(waiting)} streams are missing, such as {some}")
