"""``tidemark processes``: the commands that only read; those that change something are in ``actions``."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.table import Table

from deploy.cli import screen
from deploy.cli.processes import actions
from deploy.cli.processes.store import chosen, open_process_database
from deploy.cli.terminal import NEGATIVE, Output, OutputOption, fail, run, settings
from shared.processes import NAMES
from shared.views.processes import LATEST, ProcessDetail, ProcessFigures, ProcessStatus, ProcessView

app = typer.Typer(
    help="""Processes that span several streams: what each has done, and what it waits for.

    A process whose code raises on an input is failed. Its later inputs wait, in order; every other process goes on.

    \b
      tidemark processes list --state failed          which, and why
      tidemark processes show fulfilment o-17         one: state, history, timers, commands, outcomes
      (fix the code, deploy it)
      tidemark processes retry fulfilment o-17        or --all-failed
      tidemark audit list                             who did what, and why
    """,
    no_args_is_help=True,
    rich_markup_mode="rich",
)
ManagerOption = Annotated[str | None, typer.Option("--name", help=f"Only this process manager: {', '.join(NAMES)}.")]


@app.command("list")
def list_(
    name: ManagerOption = None,
    state: Annotated[ProcessStatus | None, typer.Option(help="Only with this status.")] = None,
    waiting_for: Annotated[str | None, typer.Option(help="Only those that wait for this.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")] = 50,
    output: OutputOption = Output.TABLE,
) -> None:
    """Processes, the latest first, and how many wait and are late.

    \b
    tidemark processes list --state failed
    tidemark processes list --name fulfilment --waiting-for payment --output json
    """
    names = chosen(None if name is None else actions.manager_name(name))

    async def read() -> tuple[list[ProcessView], list[ProcessFigures]]:
        async with open_process_database(settings()) as database:
            found = await database.processes(names, limit, state=state, waiting_for=waiting_for)
            return found, [await database.figures(each) for each in names]

    found, figures = run(read())
    if output is Output.JSON:
        screen.print_json(
            {
                "items": [one.model_dump(mode="json") for one in found],
                "figures": [one.model_dump() for one in figures],
            }
        )
        return
    screen.console().print(_table(found) if found else "no such processes")
    for each in figures:
        screen.console(stderr=True).print(_sentence(each))


@app.command()
def show(
    name: actions.Manager,
    process_id: actions.ProcessId,
    latest: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="How many of its inputs, and of its commands, at most.")
    ] = LATEST,
    output: OutputOption = Output.TABLE,
) -> None:
    """One process: its state, what it waits for, its timers, what it was given, what it has sent and what came of it.

    \b
    tidemark processes show fulfilment o-17
    """
    manager = actions.manager_name(name)

    async def read() -> ProcessDetail | None:
        async with open_process_database(settings()) as database:
            return await database.process(manager, process_id, latest)

    found = run(read())
    if found is None:
        raise fail(f"{manager} has no process {process_id}", NEGATIVE)
    if output is Output.JSON:
        screen.print_json(found)
        return
    for part in _parts(found):
        screen.console().print(part)


app.command()(actions.retry)
app.command()(actions.cancel)
app.command()(actions.compensate)
app.command()(actions.migrate)
app.command()(actions.adopt_epoch)


def _table(found: Sequence[ProcessView]) -> Table:
    made = screen.table("name", "process", "status", "waits for", "result", "timer", "updated", "failure")
    for one in found:
        failure = one.failure.exception if one.failure is not None else ""
        made.add_row(
            *screen.cells(
                one.name,
                one.process_id,
                one.status,
                ", ".join(one.waiting_for[:5]) + (" …" if len(one.waiting_for) > 5 else ""),
                one.result or "",
                screen.format_time(one.next_timer_at),
                screen.format_time(one.updated_at),
                failure,
            )
        )
    return made


def _sentence(figures: ProcessFigures) -> str:
    late = [
        (figures.failed, "failed"),
        (figures.timers_overdue, "timers overdue"),
        (figures.commands_overdue, "commands without an outcome after being sent again"),
    ]
    noted = "; ".join(f"{count} {what}" for count, what in late if count) or "nothing is late"
    return f"{figures.name}: {figures.running} running, {figures.awaiting_start} awaiting their start; {noted}"


def _parts(found: ProcessDetail) -> list[Any]:
    head = screen.key_value_table(
        ("process", f"{found.name} {found.process_id}"),
        ("status", found.status),
        ("result", found.result),
        ("waits for", ", ".join(found.waiting_for)),
        ("failure", found.failure and f"{found.failure.exception} (on {found.failure.input_id})"),
        ("rules", found.version),
        ("started", screen.format_time(found.started_at)),
        ("done", screen.format_time(found.done_at)),
        ("state", found.state),
    )
    timers = screen.table("timer", "due", "held")
    for timer in found.timers:
        timers.add_row(*screen.cells(timer.name, screen.format_time(timer.due_at), "held" if timer.held else ""))
    history = screen.table("#", "at", "kind", "input", "decided")
    for given in reversed(found.history):
        history.add_row(
            *screen.cells(
                given.number,
                screen.format_time(given.at),
                given.kind,
                given.body.get("type") or given.body.get("key") or given.body.get("name") or given.body.get("act"),
                "waits" if given.decided is None else given.decided or "",
            )
        )
    commands = screen.table("command", "about", "name", "sent", "outcome")
    for sent in reversed(found.commands):
        commands.add_row(
            *screen.cells(sent.type, sent.subject, sent.key, screen.format_time(sent.sent_at), _outcome(sent.outcome))
        )
    counts = f"{found.history_total} inputs and {found.commands_total} commands in all"
    return [head, *([timers] if found.timers else []), history, *([commands] if found.commands else []), counts]


def _outcome(outcome: dict[str, Any] | None) -> str:
    if outcome is None:
        return "none yet"
    if outcome["accepted"]:
        return f"accepted, {outcome['stream']}@{outcome['version']}"
    return f"rejected, {outcome['code']}"
