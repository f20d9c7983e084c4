"""``tidemark dead-letters annotate``: what is known of a cause of dead letters."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import typer

from deploy.cli import operator_options, screen
from deploy.cli.dead_letters import options
from deploy.cli.dead_letters.control_requests import send_request
from deploy.cli.dead_letters.store import open_operations_database
from deploy.cli.terminal import NEGATIVE, fail, run, settings
from shared.messages.operator_requests import Annotate

_AHEAD: Final = re.compile(r"(\d{1,4})(m|h|d)", re.ASCII)


def annotate(
    letter_id: options.LetterId,
    owner: Annotated[str | None, typer.Option(help="Who sees to it.")] = None,
    note: Annotated[str | None, typer.Option(help="What is known of it.")] = None,
    bug: Annotated[str | None, typer.Option(help="The address of its report.")] = None,
    snooze: Annotated[
        str | None,
        typer.Option(help="Until when it is no finding of `tidemark status`: 2h, 3d, or 2026-03-01T09:30:00Z."),
    ] = None,
    reason: operator_options.Reason = "",
    actor: operator_options.ActorOption = None,
) -> None:
    """Say of the cause of this letter who owns it and what is known; replaces all that was said of it, so without options it is cleared.

    \b
    tidemark dead-letters annotate 17 --owner ann --bug https://bugs.example.org/4711 --snooze 2d --reason "known"
    """
    letter = run(_letter(letter_id))
    if letter is None:
        raise fail(f"there is no dead letter {letter_id}", NEGATIVE)
    given: dict[str, Any] = {"owner": owner, "note": note, "bug": bug, "snoozed_until": _until(snooze)}
    said = {name: value for name, value in given.items() if value is not None}
    cause = {"origin": letter.origin, "fingerprint": letter.fingerprint}
    by = {"actor": operator_options.actor_name(actor), "reason": reason}
    act = operator_options.validated(Annotate, {**cause, **said, **by}, {"snoozed_until": "--snooze"})
    run(send_request(settings(), act, request_id=None, seconds=10.0))
    screen.console().print(
        f"said of letter {letter_id} and all others of its cause: {', '.join(said) or 'nothing more'}"
    )


async def _letter(letter_id: int) -> Any:
    async with open_operations_database(settings()) as database:
        return await database.letter(letter_id)


def _until(text: str | None) -> str | None:
    found = _AHEAD.fullmatch(text or "")
    if found is None:
        return text
    return (datetime.now(UTC) + timedelta(**{options.UNITS[found[2]]: int(found[1])})).isoformat()
