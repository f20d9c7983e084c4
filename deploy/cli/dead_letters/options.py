"""The options that several commands share, and what they select. Wrong ones are one line and exit code 2."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, TypeVar

import typer
from pydantic import BaseModel

from deploy.cli import operator_options
from deploy.cli.terminal import WRONG_USE, fail
from shared.contracts.values import EARLIEST
from shared.messages.control import Selection
from shared.messaging.topology import PROJECTORS
from shared.views.operations_queries import MAX_ID

ORIGINS: Final = (*PROJECTORS, "commands")
WHICH: Final = "Which letters"

Origin = Annotated[
    str | None,
    typer.Option("--origin", "--projector", help=f"Where they failed: {', '.join(ORIGINS)}.", rich_help_panel=WHICH),
]
Group = Annotated[
    str | None,
    typer.Option("--group", help="Their group: a fingerprint, as `groups` shows it.", rich_help_panel=WHICH),
]
Like = Annotated[
    int | None,
    typer.Option(
        min=1, max=MAX_ID, help="The group of this letter: same origin, same fingerprint.", rich_help_panel=WHICH
    ),
]
Stream = Annotated[str | None, typer.Option(help="Their stream, like orders/o-17.", rich_help_panel=WHICH)]
Type = Annotated[
    str | None,
    typer.Option("--type", help="Type of event or command, like orders.order-placed.", rich_help_panel=WHICH),
]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        help="Last failed at this time or later: 2026-03-01, 2026-03-01T09:30:00Z, or 90m, 2h, 3d ago.",
        rich_help_panel=WHICH,
    ),
]
To = Annotated[str | None, typer.Option("--to", help="Last failed before this time.", rich_help_panel=WHICH)]
Words = Annotated[
    str | None, typer.Option("--text", help="Part of the exception or the reason, in any case.", rich_help_panel=WHICH)
]
Everything = Annotated[bool, typer.Option("--all", help="All of them: to be said, not implied.", rich_help_panel=WHICH)]
Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the dead-letter worker's answer.")]
LetterId = Annotated[
    int, typer.Argument(min=1, max=MAX_ID, metavar="ID", help="Number of the letter.", show_default=False)
]
LetterIds = Annotated[
    list[int] | None,
    typer.Argument(
        min=1, max=MAX_ID, metavar="[ID]...", help="Numbers of letters, one or several.", show_default=False
    ),
]
JobId = Annotated[int, typer.Argument(min=1, max=MAX_ID, metavar="ID", help="Number of the job.", show_default=False)]

Model = TypeVar("Model", bound=BaseModel)

MAX_AGO: Final = 300_000
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_AGO: Final = re.compile(r"(\d{1,6})(s|m|h|d)", re.ASCII)
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_OPTIONS: Final = {
    "failed_from": "--from",
    "failed_to": "--to",
    "fingerprint": "--group",
    "letter_ids": "ID",
    "command_id": "--id",
}


def selection(
    origin: str | None,
    group: str | None,
    stream: str | None,
    type_: str | None,
    since: str | None,
    until: str | None,
    words: str | None,
    *,
    letter_ids: Sequence[int] | None = None,
    everything: bool = False,
) -> Selection:
    if origin is not None and origin not in ORIGINS:
        raise fail(f"--origin: there is no {origin!r}; there are {', '.join(ORIGINS)}", WRONG_USE)
    return valid(
        Selection,
        letter_ids=tuple(letter_ids) if letter_ids else None,
        origin=origin,
        fingerprint=group,
        stream=stream,
        type=type_,
        failed_from=moment(since),
        failed_to=moment(until),
        text=words,
        everything=everything,
    )


def chosen(found: Selection) -> Selection:
    """For acts: something must have been said, and not two things that contradict each other."""
    criteria = found.model_dump(exclude={"everything"}, exclude_none=True)
    if found.everything and criteria:
        raise fail("--all goes with no other choice of letters", WRONG_USE)
    if not criteria and not found.everything:
        raise fail("say which letters: their numbers, --group, --stream, another filter, or --all", WRONG_USE)
    return found


def valid(model: type[Model], **values: Any) -> Model:
    """What an operator asks for, as its contract has it; what does not fit is named by its option."""
    return operator_options.valid(model, values, _OPTIONS)


def moment(text: str | None) -> str | None:
    """As RFC 3339; a date is its midnight, UTC, and ``2h`` two hours ago."""
    if text is None:
        return None
    if ago := _AGO.fullmatch(text):
        age = timedelta(**{_UNITS[ago[2]]: min(int(ago[1]), MAX_AGO)})
        return max(datetime.now(UTC) - age, EARLIEST).isoformat()
    return f"{text}T00:00:00Z" if _DATE.fullmatch(text) else text


def checked(name: str, text: str | None) -> None:
    """Text that a database can be asked about; else one line."""
    if text is not None and ("\x00" in text or any("\ud800" <= one <= "\udfff" for one in text)):
        raise fail(f"{name}: must be UTF-8 without NUL", WRONG_USE)
