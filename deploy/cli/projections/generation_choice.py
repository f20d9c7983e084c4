"""Selects the generation of a command when it names none. Pure; raises typer.Exit with one line if there is no suitable one."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final

import typer

from deploy.cli.terminal import NEGATIVE, WRONG_USE, fail
from shared.messaging.topology import PROJECTORS
from shared.read_models import named
from shared.views.generations import Generation, GenerationState, has

ALL: Final = "all"
MAX_GENERATION: Final = 9999

Name = Annotated[
    str, typer.Argument(metavar="NAME", help=f"A projection: {', '.join(PROJECTORS)}.", show_default=False)
]
NameOrAll = Annotated[
    str, typer.Argument(metavar="NAME", help=f"A projection: {', '.join(PROJECTORS)}; or all.", show_default=False)
]
Number = Annotated[int, typer.Argument(min=1, max=MAX_GENERATION, metavar="GENERATION", show_default=False)]


def projection(name: str) -> str:
    if name not in PROJECTORS:
        raise fail(f"there is no projection {name!r}; there are {', '.join(PROJECTORS)}", WRONG_USE)
    return name


def active(generations: Sequence[Generation]) -> Generation:
    return next((one for one in generations if one.active), generations[0])


def building(generations: Sequence[Generation]) -> Generation | None:
    return next((one for one in generations if one.state is GenerationState.BUILDING), None)


def existing(name: str, generations: Sequence[Generation], number: int) -> Generation:
    for one in generations:
        if one.number == number:
            return one
    there_are = ", ".join(str(one.number) for one in generations)
    raise fail(f"{name} has no generation {number}; there are {there_are}", NEGATIVE)


def newest_ready(name: str, generations: Sequence[Generation]) -> Generation:
    """The newest generation that is ready and not active. Raises typer.Exit if there is none."""
    ready = [one for one in generations if one.state is GenerationState.READY and not one.active]
    if ready:
        return ready[-1]
    if under_way := building(generations):
        raise fail(_still_building_message(name, under_way), NEGATIVE)
    raise fail(f"{name} has generation {active(generations).number} and no other: rebuild it first", NEGATIVE)


def pair(
    name: str, generations: Sequence[Generation], number: int | None, against: int | None
) -> tuple[Generation, Generation]:
    """The generations to compare; by default the newest ready one with the active one, and the active one with the previously active."""
    one = newest_ready(name, generations) if number is None else existing(name, generations, number)
    if against is not None:
        other = existing(name, generations, against)
    elif not one.active:
        other = active(generations)
    else:
        other = previous(name, generations)
    if one.number == other.number:
        raise fail(f"generation {one.number} is itself: give another with --with", WRONG_USE)
    for each in (one, other):
        if each.state is GenerationState.BUILDING:
            raise fail(_still_building_message(name, each), NEGATIVE)
    return one, other


def kinds_of_both(name: str, one: Generation, other: Generation) -> list[str]:
    """The kinds of stream that the projection reads and both generations have. Older code may have left rows of others."""
    return [kind for kind in named(name).kinds if kind in has(one.kinds) and kind in has(other.kinds)]


def previous(name: str, generations: Sequence[Generation]) -> Generation:
    """The generation that was active before the present one. Raises typer.Exit if there is no other."""
    others = [one for one in generations if not one.active]
    if not others:
        raise fail(f"{name} has generation {active(generations).number} and no other", NEGATIVE)
    return max(others, key=_activated)


def _activated(one: Generation) -> tuple[bool, datetime, int]:
    return one.activated_at is not None, one.activated_at or one.begun_at, one.number


def _still_building_message(name: str, one: Generation) -> str:
    far = f"{one.scanned:,} of {one.total:,} events" if one.total is not None else "just begun"
    return (
        f"generation {one.number} of {name} is still being built ({far}): wait with tidemark projections rebuild {name}"
    )
