"""The epochs of the write database, and what a generation does about them: pure.

                       ┌── nothing it has is ahead ──▶ it goes on in the new epoch; what it left out meanwhile is asked for
    hears of another ──┤
    (applies nothing)  └── something is ahead ──▶ it applies nothing any more, and says so, until an operator decides

Whatever comes from the write database says of which epoch it is. Messages of an epoch that the generation has left behind are dropped:
what they tell either is in the new epoch as well, and comes again, or was lost with the old one.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from shared.views.generations import Generation, stopped

EXAMPLES: Final = 5


class EpochDecision(StrEnum):
    APPLY = "apply"
    SKIP = "skip"
    """For now, or for good: nothing is lost by it."""
    RECORD = "record"
    """It tells of an epoch that has not been heard of before."""


def decide(generation: Generation, epoch: str | None) -> EpochDecision:
    """What a generation does with a message of this epoch; None: the message does not say."""
    if epoch is not None and epoch not in (generation.epoch, generation.moving_to, *generation.former):
        return EpochDecision.RECORD
    if generation.moving_to is not None or epoch in generation.former:
        return EpochDecision.SKIP
    return EpochDecision.APPLY


def newest_unknown(generation: Generation, epochs: Iterable[str | None]) -> str | None:
    """The last of these that the generation has not heard of."""
    new = [epoch for epoch in epochs if decide(generation, epoch) is EpochDecision.RECORD]
    return new[-1] if new else None


def changes_on_new_epoch(generation: Generation, epoch: str) -> dict[str, object]:
    """What is to be written about it: the first epoch ever heard of is its own; any other one has to be compared with."""
    if generation.epoch is None:
        return {"epoch": epoch}
    if epoch in (generation.epoch, generation.moving_to):
        return {}
    return {"moving_to": epoch, "compare_cursor": "", "compared": False, "ahead": 0, "examples": ()}


def changes_on_comparing(
    generation: Generation, epoch: str, cursor: str, following: str, last: bool, ahead: list[str]
) -> dict[str, object]:
    """The portion that begins at ``cursor`` has been compared; ``ahead`` says which streams of it are ahead."""
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
    """It goes on in the epoch that it has heard of."""
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
    """The epoch of a generation that is begun now: the newest that the active one has heard of."""
    if active.moving_to is None:
        return {"epoch": active.epoch, "former": active.former}
    return {"epoch": active.moving_to, "former": known_epochs(active)}


def known_epochs(generation: Generation) -> tuple[str, ...]:
    """Its own and those it has left behind, the latest first."""
    return ((generation.epoch,) if generation.epoch is not None else ()) + tuple(generation.former)


def trouble(projection: str, generation: Generation) -> str | None:
    """What the active generation's process says about it; None: nothing is wrong."""
    found = stopped(projection, generation.moving_to, generation.ahead, generation.examples)
    return None if found is None else found.detail
