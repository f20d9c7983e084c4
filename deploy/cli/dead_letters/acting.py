"""Replay, discard, edit: the commands that change something. Each says who and why, and shows what it would do before it must be meant."""

from typing import Annotated

import typer

from deploy.cli import operator_options, screen
from deploy.cli.dead_letters import editing, options, tables
from deploy.cli.dead_letters.following import follow
from deploy.cli.dead_letters.jobs import report
from deploy.cli.dead_letters.requests import asked
from deploy.cli.dead_letters.store import OperationsDatabase, opened
from deploy.cli.terminal import NO, WRONG_USE, Output, OutputOption, fail, run, settings
from shared.messages.control import Discard, Edit, Replay, Selection
from shared.runtime.settings import Settings
from shared.views.operations import Done

PACE = "How"


def replay(
    letter_ids: options.LetterIds = None,
    group: options.Group = None,
    like: options.Like = None,
    stream: options.Stream = None,
    origin: options.Origin = None,
    type_: options.Type = None,
    since: options.From = None,
    until: options.To = None,
    text: options.Words = None,
    everything: options.Everything = False,
    rate: Annotated[
        float | None,
        typer.Option(help="Letters a second; otherwise as fast as they are answered.", rich_help_panel=PACE),
    ] = None,
    canary: Annotated[
        int, typer.Option(help="So many first; go on only when all of them succeeded.", rich_help_panel=PACE)
    ] = 0,
    concurrency: Annotated[int, typer.Option(help="Most letters under way at any time.", rich_help_panel=PACE)] = 4000,
    stop_after: Annotated[
        int,
        typer.Option(help="Stop when so many failed again for the same cause; 0: never.", rich_help_panel=PACE),
    ] = 10,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it would take, and do nothing.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Follow the job until it is at rest; exit code 0 only when all succeeded.")
    ] = False,
    reason: operator_options.Reason = "",
    actor: operator_options.By = None,
    request_id: operator_options.RequestId = None,
    timeout: options.Timeout = 10.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Send letters through the normal path again, once their cause is mended. The selection is frozen into a job.

    Replaying twice has the effect of once. A letter that fails again is held again, with one more attempt on record.

    \b
    tidemark dead-letters replay 17 --wait
    tidemark dead-letters replay --stream orders/o-17
    tidemark dead-letters replay --like 17 --canary 5 --rate 100 --wait --reason "fixed in 1.4.2"
    tidemark dead-letters replay --all --dry-run
    """
    selection = options.selection(
        origin, group, stream, type_, since, until, text, letter_ids=letter_ids, everything=everything
    )
    chosen = _chosen(settings(), selection, like)
    act = options.valid(
        Replay,
        selection=chosen,
        actor=operator_options.who(actor),
        reason=reason,
        rate=rate,
        canary=canary,
        concurrency=concurrency,
        stop_after=stop_after or None,
        dry_run=dry_run,
    )
    done = run(asked(settings(), act, request_id=request_id, seconds=timeout))
    if wait and done.job_id is not None:
        raise typer.Exit(_followed(done.job_id, output))
    if output is Output.JSON:
        screen.print_json(done)
        return
    if dry_run:
        _show(done, "would be replayed")
        return
    left_out = f"; {done.left_out} left out: they name no stream" if done.left_out else ""
    screen.console().print(f"job {done.job_id} replays {done.count} letters{left_out}")
    screen.console(stderr=True).print(f"follow it: tidemark dead-letters jobs {done.job_id} --wait")


def discard(
    letter_ids: options.LetterIds = None,
    group: options.Group = None,
    like: options.Like = None,
    stream: options.Stream = None,
    origin: options.Origin = None,
    type_: options.Type = None,
    since: options.From = None,
    until: options.To = None,
    text: options.Words = None,
    everything: options.Everything = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it would take, and do nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="It is meant: the events will never be in the view.")] = False,
    reason: operator_options.Reason = "",
    actor: operator_options.By = None,
    request_id: operator_options.RequestId = None,
    timeout: options.Timeout = 10.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Give letters up: projections step over their events and go on with what waited behind; commands are dropped.

    For ever: the view will lack what the event said. Wants --yes and --reason, or asks for them at a terminal.

    \b
    tidemark dead-letters discard 17 --yes --reason "test order, never paid"
    """
    selection = options.selection(
        origin, group, stream, type_, since, until, text, letter_ids=letter_ids, everything=everything
    )
    chosen = _chosen(settings(), selection, like)
    if not dry_run and not (yes and reason) and not operator_options.at_a_terminal():
        raise fail("discard wants --yes and --reason: what is discarded is never applied", WRONG_USE)
    who = operator_options.who(actor)
    if not dry_run and not yes:
        looked = options.valid(Discard, selection=chosen, actor=who, reason=reason or "-", dry_run=True)
        _show(run(asked(settings(), looked, request_id=None, seconds=timeout)), "will be given up for ever")
        if not typer.confirm("Discard them?", err=True):
            raise typer.Exit(NO)
    if not dry_run and not reason:
        reason = typer.prompt("Why (kept for ever)", err=True)
    act = options.valid(Discard, selection=chosen, actor=who, reason=reason or "dry run", dry_run=dry_run)
    done = run(asked(settings(), act, request_id=request_id, seconds=timeout))
    if output is Output.JSON:
        screen.print_json(done)
    elif dry_run:
        _show(done, "would be discarded")
    else:
        screen.console().print(
            f"{done.count} letters are discarded, as soon as their projections have stepped over them"
        )


def edit(
    letter_id: options.LetterId,
    data: Annotated[
        str | None,
        typer.Option(
            help="The command's new data: JSON, @file, or - for standard input; else $EDITOR.", show_default=False
        ),
    ] = None,
    type_: Annotated[str | None, typer.Option("--type", help="Another type of command.")] = None,
    subject: Annotated[str | None, typer.Option(help="Another subject.")] = None,
    command_id: Annotated[
        str | None, typer.Option("--id", help="The new command's id; one is made if missing.")
    ] = None,
    reason: operator_options.Reason = "",
    actor: operator_options.By = None,
    request_id: operator_options.RequestId = None,
    timeout: options.Timeout = 10.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Send a dead command again with other data, under a new id. The original is kept, and each knows of the other.

    Commands only. Events are facts: mend the projection, or add an upcaster, and replay.

    \b
    tidemark dead-letters edit 17                       opens $EDITOR
    tidemark dead-letters edit 17 --data @fixed.json --reason "currency was missing"
    """
    given = editing.new_data(settings(), letter_id, data)
    if not reason:
        if not operator_options.at_a_terminal() or data == "-":
            raise fail("edit wants --reason: it is kept with the command", WRONG_USE)
        reason = typer.prompt("Why (kept for ever)", err=True)
    act = options.valid(
        Edit,
        letter_id=letter_id,
        command_id=command_id,
        type=type_,
        subject=subject,
        data=given,
        actor=operator_options.who(actor),
        reason=reason,
    )
    done = run(asked(settings(), act, request_id=request_id, seconds=timeout))
    if output is Output.JSON:
        screen.print_json(done)
        return
    screen.console().print(f"command {screen.shown(done.command_id)} is sent instead of letter {letter_id}")


async def like_letter(database: OperationsDatabase, selection: Selection, like: int | None) -> Selection:
    """The selection, narrowed to the group of letter ``like``."""
    if like is None:
        return selection
    if selection.fingerprint is not None:
        raise fail("--like and --group name the same thing: give one", WRONG_USE)
    letter = await database.letter(like)
    if letter is None:
        raise fail(f"there is no dead letter {like}", NO)
    if selection.origin not in (None, letter.origin):
        raise fail(f"letter {like} is of {letter.origin}, not of {selection.origin}", WRONG_USE)
    return selection.model_copy(update={"origin": letter.origin, "fingerprint": letter.fingerprint})


def _chosen(settings: Settings, selection: Selection, like: int | None) -> Selection:
    if like is None:
        return options.chosen(selection)

    async def read() -> Selection:
        async with opened(settings) as database:
            return await like_letter(database, selection, like)

    return options.chosen(run(read()))


def _followed(job_id: int, output: Output) -> int:
    try:
        return report(run(follow(settings(), job_id)), output)
    except KeyboardInterrupt as error:
        message = f"job {job_id} goes on without you; tidemark dead-letters jobs pause {job_id} holds it"
        raise fail(message, operator_options.INTERRUPTED) from error


def _show(done: Done, what: str) -> None:
    console = screen.console(stderr=not done.dry_run)
    console.print(f"{done.count} letters {what}")
    if done.left_out:
        console.print(f"{done.left_out} are left out: they name no stream, so there is nothing to send again")
    if done.letters:
        console.print(tables.preview(done))
    if done.count and done.count > len(done.letters):
        console.print(f"… and {done.count - len(done.letters)} more")
