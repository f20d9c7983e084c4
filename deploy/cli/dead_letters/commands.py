"""``tidemark dead-letters``: the commands that only read; those that change something are in ``actions`` and ``jobs``."""

from typing import Annotated, Any

import typer

from deploy.cli import screen
from deploy.cli.audit.commands import list_ as list_audit
from deploy.cli.dead_letters import actions, options, tables
from deploy.cli.dead_letters.annotating import annotate
from deploy.cli.dead_letters.jobs import app as jobs
from deploy.cli.dead_letters.store import OperationsDatabase, open_operations_database
from deploy.cli.terminal import NEGATIVE, WRONG_USE, Output, OutputOption, fail, run, settings
from shared.messages.control import Selection
from shared.views.operations import LetterDetail, LetterStatus

app = typer.Typer(
    help="""What failed, and what to do about it.

    A dead letter is an event or a command that could not be processed. An event holds its own
    stream in its own projection, and nothing else, until it is replayed or discarded.

    The usual steps:

    \b
      tidemark dead-letters groups                      what fails, by cause
      tidemark dead-letters show 17                     one: exception, body
      (fix the projection, deploy it)
      tidemark dead-letters replay --like 17 --dry-run  what would be replayed
      tidemark dead-letters replay --like 17 --canary 5 --wait
      tidemark audit list                               who did what, and why
    """,
    no_args_is_help=True,
    rich_markup_mode="rich",
)
Limit = Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")]


@app.command()
def groups(
    origin: options.Origin = None,
    group: options.Group = None,
    stream: options.Stream = None,
    type_: options.Type = None,
    since: options.Since = None,
    until: options.Until = None,
    text: options.Text = None,
    limit: Limit = 50,
    output: OutputOption = Output.TABLE,
) -> None:
    """Live dead letters by cause, the largest group first: same origin, same exception, same place in the code.

    \b
    tidemark dead-letters groups --projector summary --from 2h
    """
    selection = options.selection(origin, group, stream, type_, since, until, text)

    async def read() -> Any:
        async with open_operations_database(settings()) as database:
            return await database.groups(selection, limit)

    found = run(read())
    if output is Output.JSON:
        screen.print_json({"items": [one.model_dump(mode="json") for one in found]})
        return
    screen.console().print(tables.groups(found) if found else "no live dead letters")


@app.command("list")
def list_(
    origin: options.Origin = None,
    group: options.Group = None,
    like: options.Like = None,
    stream: options.Stream = None,
    type_: options.Type = None,
    since: options.Since = None,
    until: options.Until = None,
    text: options.Text = None,
    status: Annotated[
        list[LetterStatus] | None, typer.Option(help="With this status; repeatable. Otherwise: live ones.")
    ] = None,
    all_statuses: Annotated[bool, typer.Option("--all", help="With any status.")] = False,
    limit: Limit = 50,
    output: OutputOption = Output.TABLE,
) -> None:
    """Dead letters, the latest failure first; live ones unless --status or --all says otherwise.

    \b
    tidemark dead-letters list --stream orders/o-17 --all
    tidemark dead-letters list --projector search --text timeout --from 2026-03-01 --output json
    """
    if all_statuses and status:
        raise fail("--all and --status exclude each other", WRONG_USE)
    selection = options.selection(origin, group, stream, type_, since, until, text)

    async def read() -> Any:
        async with open_operations_database(settings()) as database:
            chosen = await actions.like_letter(database, selection, like)
            live = not (all_statuses or status)
            found = await database.letters(chosen, limit, status, live=live)
            return found, await _count(database, chosen, live, len(found), limit)

    found, count = run(read())
    if output is Output.JSON:
        screen.print_json({"items": [one.model_dump(mode="json") for one in found], "total": count})
        return
    screen.console().print(tables.letters(found) if found else "no such dead letters")
    if count is not None and count > len(found):
        screen.console(stderr=True).print(f"{len(found)} of {count}; --limit shows more")


@app.command()
def show(letter_id: options.LetterId, output: OutputOption = Output.TABLE) -> None:
    """One letter: why it failed, how often, its stack trace, its headers and body, and what has been done about it.

    \b
    tidemark dead-letters show 17
    """

    async def read() -> LetterDetail | None:
        async with open_operations_database(settings()) as database:
            return await database.letter(letter_id)

    found = run(read())
    if found is None:
        raise fail(f"there is no dead letter {letter_id}", NEGATIVE)
    if output is Output.JSON:
        screen.print_json(found)
        return
    for part in tables.letter(found):
        screen.console().print(part)


@app.command()
def audit(
    letter: Annotated[int | None, typer.Option(min=1, help="Only what was done to this letter.")] = None,
    job: Annotated[int | None, typer.Option(min=1, help="Only what was done with this job.")] = None,
    actor: Annotated[str | None, typer.Option(help="Only what this operator did.")] = None,
    act: Annotated[
        str | None, typer.Option(help="Only replay, discard, edit, pause, resume, cancel, rebuild and the like.")
    ] = None,
    limit: Limit = 50,
    output: OutputOption = Output.TABLE,
) -> None:
    """The same as `tidemark audit list`: who did what, when and why, the latest first.

    \b
    tidemark dead-letters audit --letter 17
    """
    list_audit(
        letter=letter,
        job=job,
        actor=actor,
        act=act,
        limit=limit,
        output=output,
        kind=None,
        projection=None,
        request=None,
        since=None,
        until=None,
    )


app.command()(actions.replay)
app.command()(actions.edit)
app.command()(actions.discard)
app.command()(annotate)
app.add_typer(jobs, name="jobs")


async def _count(database: OperationsDatabase, selection: Selection, live: bool, found: int, limit: int) -> int | None:
    """How many letters the selection has in total; None where it is not counted: letters that are not live, beyond the limit."""
    if found < limit:
        return found
    return await database.count(selection) if live else None
