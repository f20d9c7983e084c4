"""Options that several commands share, and the selection that they form. Invalid ones end the command with one line and exit code 2."""

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
from shared.messaging.topology import SUBSCRIBERS
from shared.views.operations_queries import MAX_ID

ORIGINS: Final = (*SUBSCRIBERS, "commands")
SELECTION_PANEL: Final = "Which letters"

Origin = Annotated[
    str | None,
    typer.Option(
        "--origin", "--projector", help=f"Where they failed: {', '.join(ORIGINS)}.", rich_help_panel=SELECTION_PANEL
    ),
]
Group = Annotated[
    str | None,
    typer.Option("--group", help="Their group: a fingerprint, as `groups` shows it.", rich_help_panel=SELECTION_PANEL),
]
Like = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=MAX_ID,
        help="The group of this letter: same origin, same fingerprint.",
        rich_help_panel=SELECTION_PANEL,
    ),
]
Stream = Annotated[str | None, typer.Option(help="Their stream, like orders/o-17.", rich_help_panel=SELECTION_PANEL)]
Type = Annotated[
    str | None,
    typer.Option("--type", help="Type of event or command, like orders.order-placed.", rich_help_panel=SELECTION_PANEL),
]
Since = Annotated[
    str | None,
    typer.Option(
        "--from",
        help="Last failed at this time or later: 2026-03-01, 2026-03-01T09:30:00Z, or 90m, 2h, 3d ago.",
        rich_help_panel=SELECTION_PANEL,
    ),
]
Until = Annotated[
    str | None, typer.Option("--to", help="Last failed before this time.", rich_help_panel=SELECTION_PANEL)
]
Text = Annotated[
    str | None,
    typer.Option(
        "--text", help="Part of the exception or the reason, case-insensitive.", rich_help_panel=SELECTION_PANEL
    ),
]
Everything = Annotated[
    bool,
    typer.Option("--all", help="All of them; required when no other filter is given.", rich_help_panel=SELECTION_PANEL),
]
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
UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
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
    return validated(
        Selection,
        letter_ids=tuple(letter_ids) if letter_ids else None,
        origin=origin,
        fingerprint=group,
        stream=stream,
        type=type_,
        failed_from=parse_time(since),
        failed_to=parse_time(until),
        text=words,
        everything=everything,
    )


def require_criteria(found: Selection) -> Selection:
    """The selection of an action. Raises typer.Exit if it is empty, or if --all is combined with other criteria."""
    criteria = found.model_dump(exclude={"everything"}, exclude_none=True)
    if found.everything and criteria:
        raise fail("--all excludes every other selection of letters", WRONG_USE)
    if not criteria and not found.everything:
        raise fail("say which letters: their numbers, --group, --stream, another filter, or --all", WRONG_USE)
    return found


def validated(model: type[Model], **values: Any) -> Model:
    """The validated request. Raises typer.Exit with a message that names the invalid option."""
    return operator_options.validated(model, values, _OPTIONS)


def parse_time(text: str | None) -> str | None:
    """The time as RFC 3339: a date means its midnight in UTC, ``2h`` two hours ago. Other text is returned as it is."""
    if text is None:
        return None
    if ago := _AGO.fullmatch(text):
        age = timedelta(**{UNITS[ago[2]]: min(int(ago[1]), MAX_AGO)})
        return max(datetime.now(UTC) - age, EARLIEST).isoformat()
    return f"{text}T00:00:00Z" if _DATE.fullmatch(text) else text


def require_storable(name: str, text: str | None) -> None:
    """Raises typer.Exit for text that PostgreSQL cannot store: NUL, or lone surrogates."""
    if text is not None and ("\x00" in text or any("\ud800" <= one <= "\udfff" for one in text)):
        raise fail(f"{name}: must be UTF-8 without NUL", WRONG_USE)
