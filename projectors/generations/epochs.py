"""The epochs of the write database, and how a generation moves between them: pure.

                           ┌── no stream is ahead ──▶ it adopts the new epoch, and requests the events that it skipped meanwhile
    receives a new epoch ──┤
    (applies nothing)      └── a stream is ahead ──▶ it applies nothing, and reports that, until an operator decides

Every message of the write database names its epoch. Messages of a former epoch are dropped: their events either exist in the new epoch
too, and arrive again, or were lost with the old one.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from shared.views.generations import Generation, stopped

EXAMPLES: Final = 5


class EpochDecision(StrEnum):
    APPLY = "apply"
    SKIP = "skip"
    """Apply nothing of it, now or ever: nothing is lost by that."""
    RECORD = "record"
    """Its epoch is new, and is to be recorded before anything else."""


def decide(generation: Generation, epoch: str | None) -> EpochDecision:
    """What a generation does with a message of this epoch; None: the message names none."""
    if epoch is not None and epoch not in (generation.epoch, generation.moving_to, *generation.former):
        return EpochDecision.RECORD
    if generation.moving_to is not None or epoch in generation.former:
        return EpochDecision.SKIP
    return EpochDecision.APPLY


def newest_unknown(generation: Generation, epochs: Iterable[str | None]) -> str | None:
    """The last of these epochs that the generation has not recorded."""
    new = [epoch for epoch in epochs if decide(generation, epoch) is EpochDecision.RECORD]
    return new[-1] if new else None


def changes_on_new_epoch(generation: Generation, epoch: str) -> dict[str, object]:
    """The changes that record an epoch: the generation's first epoch becomes its own; any other one has to be compared first."""
    if generation.epoch is None:
        return {"epoch": epoch}
    if epoch in (generation.epoch, generation.moving_to):
        return {}
    return {"moving_to": epoch, "compare_cursor": "", "compared": False, "ahead": 0, "examples": ()}


def changes_on_comparing(
    generation: Generation, epoch: str, cursor: str, following: str, last: bool, ahead: list[str]
) -> dict[str, object]:
    """The changes after the page from ``cursor`` on has been compared; ``ahead``: the streams of it that are ahead."""
    if generation.moving_to != epoch or generation.compare_cursor != cursor or generation.compared:
        return {}
    count = generation.ahead + len(ahead)
    if last and not count:
        return changes_on_adopting(generation)
    return {
        "compare_cursor": following,
        "compared": last,
        "ahead": count,
        "examples": (*generation.examples, *ahead)[:EXAMPLES],
    }


def changes_on_adopting(generation: Generation) -> dict[str, object]:
    """The changes that make ``moving_to`` the generation's epoch."""
    if generation.moving_to is None:
        return {}
    return {
        "epoch": generation.moving_to,
        "former": known_epochs(generation),
        "moving_to": None,
        "compare_cursor": "",
        "compared": False,
        "ahead": 0,
        "examples": (),
    }


def epochs_for_new_generation(active: Generation) -> dict[str, object]:
    """The epochs of a generation that begins now: its own is the newest that the active generation has recorded."""
    if active.moving_to is None:
        return {"epoch": active.epoch, "former": active.former}
    return {"epoch": active.moving_to, "former": known_epochs(active)}


def known_epochs(generation: Generation) -> tuple[str, ...]:
    """Its own epoch and the former ones, the latest first."""
    return ((generation.epoch,) if generation.epoch is not None else ()) + tuple(generation.former)


def trouble(projection: str, generation: Generation) -> str | None:
    """Why the active generation applies nothing, for the process's health; None: nothing is wrong."""
    found = stopped(projection, generation.moving_to, generation.ahead, generation.examples)
    return None if found is None else found.detail
