"""Replay, discard, edit: the commands that change something. Each records actor and reason, and can show its effect in advance."""

from typing import Annotated

import typer

from deploy.cli import operator_options, screen
from deploy.cli.dead_letters import editing, options, tables
from deploy.cli.dead_letters.control_requests import send_request
from deploy.cli.dead_letters.following import follow
from deploy.cli.dead_letters.jobs import print_final_state
from deploy.cli.dead_letters.store import OperationsDatabase, open_operations_database
from deploy.cli.terminal import NEGATIVE, WRONG_USE, Output, OutputOption, fail, run, settings
from shared.messages.control import Discard, Edit, Replay, Selection
from shared.runtime.settings import Settings
from shared.views.operations import Done

PACE_PANEL = "How"


def replay(
    letter_ids: options.LetterIds = None,
    group: options.Group = None,
    like: options.Like = None,
    stream: options.Stream = None,
    origin: options.Origin = None,
    type_: options.Type = None,
    since: options.Since = None,
    until: options.Until = None,
    text: options.Text = None,
    everything: options.Everything = False,
    rate: Annotated[
        float | None,
        typer.Option(help="Letters per second; otherwise as fast as they are answered.", rich_help_panel=PACE_PANEL),
    ] = None,
    canary: Annotated[
        int,
        typer.Option(
            help="Replay this many first; continue only when all of them succeeded.", rich_help_panel=PACE_PANEL
        ),
    ] = 0,
    ramp: Annotated[
        str,
        typer.Option(
            metavar="PERCENT,…",
            help="Then so many percent of them, then so many, then all: 10,50. Each step waits for the one before.",
            show_default=False,
            rich_help_panel=PACE_PANEL,
        ),
    ] = "",
    concurrency: Annotated[
        int, typer.Option(help="Most letters under way at any time.", rich_help_panel=PACE_PANEL)
    ] = 4000,
    stop_after: Annotated[
        int,
        typer.Option(
            help="Stop when this many have failed again for the same cause, or in one step; 0: never.",
            rich_help_panel=PACE_PANEL,
        ),
    ] = 10,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the selected letters, and do nothing.")] = False,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait", help="Follow the job until it has ended or halted; exit code 0 only when all succeeded."
        ),
    ] = False,
    reason: operator_options.Reason = "",
    actor: operator_options.ActorOption = None,
    request_id: operator_options.RequestId = None,
    timeout: options.Timeout = 10.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Process letters again on the normal path, after their cause is fixed. The job keeps the letters selected now.

    Replaying twice has the effect of once. A letter that fails again is held again, with one more attempt recorded.

    \b
    tidemark dead-letters replay 17 --wait
    tidemark dead-letters replay --stream orders/o-17
    tidemark dead-letters replay --like 17 --canary 5 --ramp 10,50 --wait --reason "fixed in 1.4.2"
    tidemark dead-letters replay --all --dry-run
    """
    selection = options.selection(
        origin, group, stream, type_, since, until, text, letter_ids=letter_ids, everything=everything
    )
    chosen = _selected(settings(), selection, like)
    act = options.validated(
        Replay,
        selection=chosen,
        actor=operator_options.actor_name(actor),
        reason=reason,
        rate=rate,
        canary=canary,
        ramp=ramp.split(",") if ramp else (),
        concurrency=concurrency,
        stop_after=stop_after or None,
        dry_run=dry_run,
    )
    done = run(send_request(settings(), act, request_id=request_id, seconds=timeout))
    if wait and done.job_id is not None:
        raise typer.Exit(_follow_job(done.job_id, output))
    if output is Output.JSON:
        screen.print_json(done)
        return
    if dry_run:
        _print_result(done, "would be replayed")
        return
    left_out = f"; {done.left_out} left out: they belong to no stream" if done.left_out else ""
    screen.console().print(f"job {done.job_id} replays {done.count} letters{left_out}")
    screen.console(stderr=True).print(f"follow it: tidemark dead-letters jobs {done.job_id} --wait")


def discard(
    letter_ids: options.LetterIds = None,
    group: options.Group = None,
    like: options.Like = None,
    stream: options.Stream = None,
    origin: options.Origin = None,
    type_: options.Type = None,
    since: options.Since = None,
    until: options.Until = None,
    text: options.Text = None,
    everything: options.Everything = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the selected letters, and do nothing.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask for confirmation: the events will never be in the view.")
    ] = False,
    reason: operator_options.Reason = "",
    actor: operator_options.ActorOption = None,
    request_id: operator_options.RequestId = None,
    timeout: options.Timeout = 10.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Discard letters: projections skip their events and continue with those held behind them; commands are dropped.

    Permanent: the view will lack the event's content. Requires --yes and --reason, or asks for them at a terminal.

    \b
    tidemark dead-letters discard 17 --yes --reason "test order, never paid"
    """
    selection = options.selection(
        origin, group, stream, type_, since, until, text, letter_ids=letter_ids, everything=everything
    )
    chosen = _selected(settings(), selection, like)
    if not dry_run and not (yes and reason) and not operator_options.is_interactive():
        raise fail("discard requires --yes and --reason: discarded events are never applied", WRONG_USE)
    who = operator_options.actor_name(actor)
    if not dry_run and not yes:
        preview = options.validated(Discard, selection=chosen, actor=who, reason=reason or "-", dry_run=True)
        _print_result(
            run(send_request(settings(), preview, request_id=None, seconds=timeout)), "will be discarded permanently"
        )
        if not typer.confirm("Discard them?", err=True):
            raise typer.Exit(NEGATIVE)
    if not dry_run and not reason:
        reason = typer.prompt("Reason (kept permanently)", err=True)
    act = options.validated(Discard, selection=chosen, actor=who, reason=reason or "dry run", dry_run=dry_run)
    done = run(send_request(settings(), act, request_id=request_id, seconds=timeout))
    if output is Output.JSON:
        screen.print_json(done)
    elif dry_run:
        _print_result(done, "would be discarded")
    else:
        screen.console().print(f"{done.count} letters are discarded, as soon as their projections have skipped them")


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
    command_id: Annotated[str | None, typer.Option("--id", help="The new command's id; generated if missing.")] = None,
    reason: operator_options.Reason = "",
    actor: operator_options.ActorOption = None,
    request_id: operator_options.RequestId = None,
    timeout: options.Timeout = 10.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Send a dead command again with other data, under a new id. The original is kept; each references the other.

    Commands only. Events are facts: fix the projection, or add an upcaster, and replay.

    \b
    tidemark dead-letters edit 17                       opens $EDITOR
    tidemark dead-letters edit 17 --data @fixed.json --reason "currency was missing"
    """
    given = editing.new_data(settings(), letter_id, data)
    if not reason:
        if not operator_options.is_interactive() or data == "-":
            raise fail("edit requires --reason: it is kept with the command", WRONG_USE)
        reason = typer.prompt("Reason (kept permanently)", err=True)
    act = options.validated(
        Edit,
        letter_id=letter_id,
        command_id=command_id,
        type=type_,
        subject=subject,
        data=given,
        actor=operator_options.actor_name(actor),
        reason=reason,
    )
    done = run(send_request(settings(), act, request_id=request_id, seconds=timeout))
    if output is Output.JSON:
        screen.print_json(done)
        return
    screen.console().print(f"command {screen.printable(done.command_id)} is sent instead of letter {letter_id}")


async def like_letter(database: OperationsDatabase, selection: Selection, like: int | None) -> Selection:
    """The selection, narrowed to the group of letter ``like``."""
    if like is None:
        return selection
    if selection.fingerprint is not None:
        raise fail("--like and --group both select a group: give one", WRONG_USE)
    letter = await database.letter(like)
    if letter is None:
        raise fail(f"there is no dead letter {like}", NEGATIVE)
    if selection.origin not in (None, letter.origin):
        raise fail(f"letter {like} is of {letter.origin}, not of {selection.origin}", WRONG_USE)
    return selection.model_copy(update={"origin": letter.origin, "fingerprint": letter.fingerprint})


def _selected(settings: Settings, selection: Selection, like: int | None) -> Selection:
    if like is None:
        return options.require_criteria(selection)

    async def read() -> Selection:
        async with open_operations_database(settings) as database:
            return await like_letter(database, selection, like)

    return options.require_criteria(run(read()))


def _follow_job(job_id: int, output: Output) -> int:
    try:
        return print_final_state(run(follow(settings(), job_id)), output)
    except KeyboardInterrupt as error:
        message = f"job {job_id} continues; tidemark dead-letters jobs pause {job_id} pauses it"
        raise fail(message, operator_options.EXIT_INTERRUPTED) from error


def _print_result(done: Done, what: str) -> None:
    console = screen.console(stderr=not done.dry_run)
    console.print(f"{done.count} letters {what}")
    if done.left_out:
        console.print(f"{done.left_out} are left out: they belong to no stream, so there is nothing to send again")
    if done.letters:
        console.print(tables.preview(done))
    if done.count and done.count > len(done.letters):
        console.print(f"… and {done.count - len(done.letters)} more")
